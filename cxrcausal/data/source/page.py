"""The page on the sources (`docs/sources.md`), made from what the sources say of themselves.

python -m cxrcausal.data.source.page > docs/sources.md
"""

from cxrcausal.data.source.source import Source, list_sources, load_source

__all__ = ["sources_page"]

ORDER = ("patient_id", "study_id", "image", "split", "dataset", "age", "sex", "race", "view")

INTRODUCTION = """\
# Sources

Made by `python -m cxrcausal.data.source.page` from the modules of `cxrcausal/data/source/`; a test
holds this page against them.

`read_table(folder, source="...")` reads a download folder, or one table in the same layout; on
the command line, `cxrcausal data harmonise FOLDER --source NAME --output table.csv`. Patients of
different sources have different prefixes. What could not be taken as written is counted, by
reason, in `table.attrs["cxrcausal"]["notes"]`.

Three things are never one: a finding that a report does not *mention* (`not_mentioned`: negative
by default, or unknown), one that it calls *uncertain* (`uncertain`: unknown by default, or
negative, positive, or soft evidence), and one that a source *never labels*, which is always
unknown. With `unknown="level"` and `with_unknown_level(graph)` unknown is a level of its own.

A table of one's own is read with a mapping of its columns, as a dict or a YAML file:
`read_table("ward.csv", source={"Patient Gender": "sex", "MRN": "patient_id"})`.
"""


def sources_page() -> str:
    """Returns the page in Markdown: for each public source its files, columns and terms."""
    sources = [source for name in list_sources() if (source := load_source(name)).files]
    rows = [
        f"| [{s.title}](#{s.name}) | `{s.name}` | {', '.join(s.never_labelled) or 'nothing'} |"
        for s in sources
    ]
    head = ["| source | name | never labelled |", "|---|---|---|", *rows]
    return "\n".join([INTRODUCTION, *head, *(_section(source) for source in sources)]) + "\n"


def _section(source: Source) -> str:
    """Returns what one source says of itself."""
    files = [
        f"- `{file.names[0]}`"
        + "".join(f" (or `{other}`)" for other in file.names[1:])
        + f": {file.what}{'' if file.needed else ', if it is there'}"
        for file in source.files
    ]
    names = sorted(source.columns, key=lambda n: (n not in ORDER, *_place(n)))
    rows = [
        f"| `{name}` | {_cell(source.columns[name])} | {_cell(source.mapping.get(name, ''))} |"
        for name in names
    ]
    never = [f"| `{name}` | never labelled | unknown |" for name in source.never_labelled]
    said = {
        "Not mentioned": source.not_mentioned or "does not occur",
        "Uncertain": source.uncertain or "does not occur",
        "Ages": source.ages,
        "Images": source.image_layout,
        "Licence": source.licence,
        "Cite": source.citation,
    }
    facts = [f"- {what}: {how}" for what, how in said.items() if how]
    title = f'\n<a id="{source.name}"></a>\n## {source.title} (`{source.name}`)\n'
    table = ["", "| variable | read from | how |", "|---|---|---|", *rows, *never, ""]
    return "\n".join([title, "Files:", *files, *table, *facts])


def _place(name: str) -> tuple[int, str]:
    return (ORDER.index(name), "") if name in ORDER else (0, name)


def _cell(text: str) -> str:
    """Returns a text that may stand in a cell of a Markdown table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(sources_page(), end="")
