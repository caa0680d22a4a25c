"""The server of the page."""

from __future__ import annotations

from unified.errors import UserError
from unified.serving.app.page import Page, look


def serve_page(page: Page, host: str, port: int, *, share: bool = False) -> str:
    """Starts the server and returns the page's address; `page.blocks.close()` ends it. Raises UserError where
    the port is not to be had."""
    try:
        _, local, shared = page.blocks.launch(
            server_name=host, server_port=port, share=share, quiet=True, prevent_thread_lock=True,
            ssr_mode=False, run_history=False, enable_monitoring=False, mcp_server=False,
            max_file_size=page.settings.limits.max_bytes, **look(),
        )  # fmt: skip
    except OSError as error:
        raise UserError(
            f"cannot listen at {host}:{port} ({error}); choose another --port or --host"
        ) from None
    return shared or local
