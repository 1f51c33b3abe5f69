"""`sluiceway panel`: what is in a reference panel, and the table that scoring needs of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sluiceway.core.genetics.build import Build, Region

if TYPE_CHECKING:
    from sluiceway.core.genetics.panel import Panel

app = typer.Typer(no_args_is_help=True, help="Reference panels: their people, variants and genotypes.")

Prefix = Annotated[Path, typer.Argument(help="What the names of its files begin with, or one of the files.")]
OfBuild = Annotated[Build | None, typer.Option("--build", help="Its build, where its files do not tell it.")]
Labels = Annotated[str | None, typer.Option("--labels", help="The column of the sample file to take for population.")]
Relatives = Annotated[Path | None, typer.Option("--relatives", help="A list of the people to leave out as relatives.")]
Place = Annotated[str, typer.Option("--region", help="A chromosome, or a stretch such as 11:69M-70M.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def prepare(
    prefix: Prefix, build: OfBuild = None, labels: Labels = None, relatives: Relatives = None, as_json: AsJson = False
) -> None:
    """Make the table of variants and frequencies that scoring needs, unless it is there already."""
    from sluiceway import panel_answers as answers

    answers.tell_of_table(_opened(prefix, build, labels, relatives), as_json=as_json)


@app.command()
def fetch(  # noqa: PLR0913, PLR0917 - one per option
    name: Annotated[str, typer.Argument(help="1000g or hgdp_1kg, or with --url a name of your own.")],
    url: Annotated[str | None, typer.Option("--url", help="Where its .tar.zst is, if not at the PGS Catalog.")] = None,
    md5: Annotated[str | None, typer.Option("--md5", help="What the md5 of that must be.")] = None,
    build: Annotated[Build, typer.Option("--build", help="Which of its builds to prepare.")] = Build.GRCH38,
    labels: Labels = None,
    relatives: Relatives = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody: use what is on this machine.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a reference panel of the PGS Catalog here, unpack and prepare it; what is here is not brought again."""
    from sluiceway import panel_answers as answers
    from sluiceway.core.catalog.catalog import Catalog
    from sluiceway.core.catalog.panel_archive import fetch_panel
    from sluiceway.core.catalog.refresh import waited
    from sluiceway.core.report import console

    place = Catalog.here(build=build, offline=offline).place
    with console.progress_bars() as progress:
        panel = waited(fetch_panel(place, name, url=url, md5=md5, progress=progress))
    opened = _opened(panel.prefix(build), build, labels, relatives or panel.relatives(build))
    answers.tell_of_fetched(panel, opened, as_json=as_json)


@app.command()
def info(
    prefix: Prefix, build: OfBuild = None, labels: Labels = None, relatives: Relatives = None, as_json: AsJson = False
) -> None:
    """Say what is in a panel: people, populations, variants, missing calls, build and digest."""
    from sluiceway import panel_answers as answers

    answers.tell_of_panel(_opened(prefix, build, labels, relatives), as_json=as_json)


@app.command()
def samples(
    prefix: Prefix,
    population: Annotated[str | None, typer.Option("--population", help="Only people of this population.")] = None,
    labels: Labels = None,
    relatives: Relatives = None,
    as_json: AsJson = False,
) -> None:
    """List a panel's people, one line each, with columns between tabs."""
    from sluiceway import panel_answers as answers

    answers.list_people(_opened(prefix, labels=labels, relatives=relatives), population, as_json=as_json)


@app.command()
def variants(prefix: Prefix, region: Place, build: OfBuild = None, as_json: AsJson = False) -> None:
    """List the variants of a region, one line for each ALT allele, with columns between tabs."""
    from sluiceway import panel_answers as answers

    wanted = Region.parse(region)
    answers.list_variants(_opened(prefix, build), wanted, as_json=as_json)


@app.command()
def genotypes(
    prefix: Prefix,
    region: Place,
    sample: Annotated[list[str] | None, typer.Option("--sample", help="Only this person; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """List copies of each ALT allele in a region, a column per person; as plink2 writes it, one copy of one is 2."""
    from sluiceway import panel_answers as answers

    wanted = Region.parse(region)
    answers.list_genotypes(_opened(prefix), wanted, sample, as_json=as_json)


def _opened(
    prefix: Path, build: Build | None = None, labels: str | None = None, relatives: Path | None = None
) -> Panel:
    from sluiceway.core.genetics.panel import open_panel

    return open_panel(prefix, build=build, population=labels, unrelated=relatives)
