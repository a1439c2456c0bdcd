"""Figures and widgets that one lab alone uses: one file a lab. What several labs share is in labkit.figures."""
