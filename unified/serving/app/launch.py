"""The server of the page, and how the page looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from unified.errors import UserError
from unified.serving.app.page import Page

STYLE = Path(__file__).with_name("style.css")
FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
"""Fonts of the machine: nothing is fetched."""


def serve_page(page: Page, host: str, port: int, *, share: bool = False) -> str:
    """Starts the server and returns the page's address; `page.blocks.close()` ends it. Raises UserError where
    the port is not to be had."""
    try:
        _, local, shared = page.blocks.launch(
            server_name=host, server_port=port, share=share, quiet=True, prevent_thread_lock=True,
            ssr_mode=False, run_history=False, enable_monitoring=False, mcp_server=False,
            max_file_size=page.settings.limits.max_bytes, **_look(),
        )  # fmt: skip
    except OSError as error:
        raise UserError(
            f"cannot listen at {host}:{port} ({error}); choose another --port or --host"
        ) from None
    return shared or local


def _look() -> dict[str, Any]:
    """How the page looks, as `Blocks.launch` takes it."""
    theme = gr.themes.Soft(
        primary_hue="indigo", neutral_hue="slate", radius_size="md", font=FONT, font_mono=MONO
    )
    return {"theme": theme, "css_paths": STYLE, "footer_links": ["gradio", "settings"]}
