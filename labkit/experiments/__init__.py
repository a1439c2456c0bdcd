"""The papers' tables, measured again under equal conditions: `labkit measure TABLE`, `labkit report TABLE`."""
