"""`cxrcausal explore`: a page on this machine, to ask one patient what would have been."""

from typing import Annotated

import typer

from cxrcausal.cli.app import app
from cxrcausal.counterfactual import CounterfactualModel
from cxrcausal.explore import Explorer, make_server
from cxrcausal.pretrained import load_pretrained

__all__ = ["explore"]


@app.command()
def explore(
    model: Annotated[
        str,
        typer.Option(
            help="A shipped model or a folder; phantoms, whose answers are exact, come with it."
        ),
    ] = "cxr19-small",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8765,
    host: Annotated[
        str, typer.Option(help="Another address than this machine's own shows the page to others.")
    ] = "127.0.0.1",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda:0, …")] = "auto",
) -> None:
    """Serves a page: a radiograph, interventions by the graph, and the counterfactual beside it.

    Nothing of a patient is kept. Ctrl-C ends it.
    """
    explorers = {"phantom": phantom_explorer()}
    if model != "phantom":
        explorers = {model: Explorer(load_pretrained(model, device=device)), **explorers}
    server = make_server(explorers, host, port)
    name = f"[{host}]" if ":" in host else host
    typer.echo(f"http://{name}:{server.server_address[1]}/  (Ctrl-C ends it)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        typer.echo("ended")
    finally:
        server.server_close()


def phantom_explorer(size: int = 128) -> Explorer:
    """Returns an explorer of phantoms, whose counterfactuals are the truth."""
    from cxrcausal.data.phantom import PhantomMechanism, phantom_scm

    exact = CounterfactualModel(phantom_scm(), PhantomMechanism(size), name="phantom")
    return Explorer(exact, exact=True)
