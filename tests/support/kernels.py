"""A real Jupyter kernel for tests, with a stop button."""

from contextlib import contextmanager

from jupyter_client.manager import start_new_kernel

SHOWN = ("display_data", "execute_result", "stream", "error")


@contextmanager
def kernel(folder):
    """Starts a kernel in `folder` and gives a function that runs a cell and returns its outputs [(kind, content), ...].

    With `stop_button`, the kernel is interrupted as soon as a progress bar of the cell has moved.
    """
    manager, client = start_new_kernel(cwd=str(folder), startup_timeout=120)

    def run_cell(code, stop_button=False):
        outputs, pressed = [], []

        def see(message):
            if message["msg_type"] in SHOWN:
                outputs.append((message["msg_type"], message["content"]))
            if stop_button and moves_a_bar(message) and not pressed:
                pressed.append(True)
                manager.interrupt_kernel()

        client.execute_interactive(code, output_hook=see, timeout=120)
        return outputs

    try:
        yield run_cell
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def moves_a_bar(message):
    """Whether a kernel's message sets the value of a widget to a number above 0."""
    if message["msg_type"] != "comm_msg":
        return False
    value = message["content"]["data"].get("state", {}).get("value")
    return isinstance(value, int | float) and value > 0
