"""Helpers of the browser tests: a JupyterLab server of our own, and a Chromium page that may talk to it alone."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

CHROMIUM_NAMES = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)
CHROMIUM_FLAGS = (
    "--no-sandbox",  # Chromium has none for root, which is who runs in a container
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
LIMIT = 180  # seconds that one step may take on a slow machine; every wait ends as soon as its condition holds

# JupyterLab's own objects, reached through window.jupyterapp (LabApp.expose_app_in_browser).
OPENED = (
    "(() => { const w = window.jupyterapp?.shell.currentWidget; return w?.context?.isReady && w.content?.model; })()"
)
KERNEL_IDLE = "window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
RUN_ALL = """async () => {
    await window.jupyterapp.shell.currentWidget.sessionContext.ready;
    await window.jupyterapp.commands.execute('notebook:run-all-cells');
}"""
CODE_CELLS = """window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code').map(c => ({
    source: c.model.sharedModel.getSource(),
    count: c.model.executionCount,
    errors: c.model.outputs.toJSON().filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue)}))"""
# What the visible picture of an <img> looks like: its pixels, not its address, which changes with every frame.
PIXELS = """async image => {
    try { await image.decode(); } catch { return null; }
    const canvas = document.createElement('canvas');
    canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
    canvas.getContext('2d').drawImage(image, 0, 0);
    return canvas.toDataURL();
}"""


def find_chromium():
    """Return the path of a Chromium-like browser: the environment variable CHROMIUM, or one on the PATH; else None."""
    if path := os.environ.get("CHROMIUM"):
        return path
    return next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)


class Server:
    """A JupyterLab started by one of course.presenting's functions, in a process and folders of its own.

    function   "open_lab" or "present"
    notebook   path of the notebook to open
    folder     an empty folder for configuration, settings and logs
    settings   JupyterLab settings for "open_lab", {"package:plugin": {key: value}}
    temporary  the folder for temporary files, the system's by default
    """

    def __init__(self, function, notebook, folder, settings=None, temporary=None):
        self.function, self.notebook, self.folder = function, Path(notebook), Path(folder)
        self.token = secrets.token_hex(16)
        self.log = self.folder / "server.log"
        config = self.folder / "config"
        for name, values in (settings or {}).items():
            package, plugin = name.split(":")
            file = config / "lab" / "user-settings" / package / f"{plugin}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        # The page's scripts need the handle on the application; nothing else differs from what a student gets.
        config.mkdir(parents=True, exist_ok=True)
        (config / "jupyter_lab_config.json").write_text(json.dumps({"LabApp": {"expose_app_in_browser": True}}))
        own = {
            "JUPYTER_CONFIG_DIR": config,
            "JUPYTER_RUNTIME_DIR": "run",
            "JUPYTER_DATA_DIR": "data",
            "IPYTHONDIR": "ipy",
        }
        self.environment = os.environ | {name: str(self.folder / place) for name, place in own.items()}
        self.environment |= {"JUPYTER_TOKEN": self.token, "OMP_NUM_THREADS": "1"}
        if temporary:
            self.environment |= dict.fromkeys(["TMPDIR", "TEMP", "TMP"], str(temporary))

    def start(self):
        """Start the server on a port that is free now, and return whether it answers."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        arguments = f"{str(self.notebook)!r}, port={urlsplit(self.url).port}, open_browser=False"
        call = f"from course import presenting; presenting.{self.function}({arguments})"
        with self.log.open("w") as log:
            command = [sys.executable, "-c", call]
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + LIMIT
        while time.monotonic() < end and self.process.poll() is None:
            try:
                return bool(urllib.request.urlopen(f"{self.url}/api/status?token={self.token}", timeout=5).read())
            except OSError:
                time.sleep(0.2)
        return False

    @property
    def address(self):
        """Where the browser lands, with the token: what JupyterLab prints and opens."""
        return f"{self.url}/lab/tree/{self.notebook.name}?token={self.token}"

    def __enter__(self):
        for _ in range(3):  # another program may take the free port first
            try:
                if self.start():
                    return self
                self.close()
            except BaseException:
                self.close()
                raise
        raise RuntimeError("JupyterLab did not start:\n" + self.log.read_text(errors="replace")[-3000:])

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Stop the server and its kernels: politely, then by force."""
        request = urllib.request.Request(f"{self.url}/api/shutdown?token={self.token}", method="POST")
        try:
            urllib.request.urlopen(request, timeout=10).read()
            self.process.wait(30)
        except (OSError, subprocess.TimeoutExpired):
            pass
        if self.process.poll() is None:
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait(30)


@contextmanager
def launched_chromium(executable):
    """Yield a headless Chromium. Only one at a time, and no asyncio beside it: such is playwright's plain interface."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=list(CHROMIUM_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def guarded_page(browser, width=1400, height=1000):
    """Yield a page. `page.problems` lists scripts' errors and the requests to anything but loopback, all refused."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(LIMIT * 1000)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(f"script error: {error}"))

    def only_loopback(route):
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            page.problems.append(f"request to {route.request.url}")
            route.abort()

    page.route("**/*", only_loopback)
    try:
        yield page
    finally:
        page.close()
