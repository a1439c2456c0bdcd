"""A real Jupyter kernel for tests, with a stop button."""

from contextlib import contextmanager

from jupyter_client.manager import start_new_kernel

SHOWN = ("display_data", "execute_result", "stream", "error")


@contextmanager
def kernel(folder):
    """Starts a kernel in `folder` and gives a function that runs a cell and returns its outputs [(kind, content), ...].

    With `stop_button`, the kernel is interrupted as soon as the cell has shown something.
    """
    manager, client = start_new_kernel(cwd=str(folder), startup_timeout=120)

    def run_cell(code, stop_button=False):
        outputs = []

        def see(message):
            if message["msg_type"] in SHOWN:
                outputs.append((message["msg_type"], message["content"]))
                if stop_button and len(outputs) == 1:
                    manager.interrupt_kernel()

        client.execute_interactive(code, output_hook=see, timeout=120)
        return outputs

    try:
        yield run_cell
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
