"""``orthant export-encoder``: a trained encoder as a folder that needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``export-encoder``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("export-encoder", help="Write a trained encoder as a folder served by onnxruntime, without torch.")
    def export_encoder(
        model: str = typer.Argument(help="A saved sentence-transformers or transformers folder, or minilm."),
        out: str = typer.Argument(help="A new folder."),
        int8: bool = typer.Option(
            False, "--int8", help="8-bit weights: a quarter of the size, slightly different vectors."
        ),
        min_cosine: float = typer.Option(
            0.9, help="Refuse an int8 export whose vectors have a lower cosine with the original's."
        ),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import print_json, print_pairs, progress_bar, readable_bytes
        from orthant.encoders.transformer import minilm_folder
        from orthant.learn.export.encoder import export_encoder as run

        given = minilm_folder() if model == "minilm" else model
        with progress_bar(f"exporting {model}", None):
            report = run(given, out, precision="int8" if int8 else "float32", min_cosine=min_cosine)
        if json:
            print_json(report.to_dict())
            return
        agreement = report.agreement
        compared = f"{report.texts} texts in both roles, alone and in one batch, against {report.reference}"
        loader = "load_token_encoder" if report.kind == "tokens" else "load_encoder"
        print_pairs(
            [
                ("folder", report.path),
                ("graph", f"{report.precision}, {report.route}, {readable_bytes(report.graph_bytes)}"),
                ("vectors", f"{report.dim} values, one per {'token' if report.kind == 'tokens' else 'text'}"),
                ("checked on", compared),
                ("largest difference", f"{agreement.max_difference:.2e}"),
                ("cosine", f"{agreement.cosine_min:.6f} at worst, {agreement.cosine_mean:.6f} on average"),
                ("load it with", f"orthant.encoders.{loader}({report.path!r})"),
            ],
            title="exported",
        )
