"""The page on the sources is what the sources say."""

from pathlib import Path

from cxrcausal.data import list_sources, load_source
from cxrcausal.data.source.page import sources_page

PAGE = Path(__file__).parents[3] / "docs" / "sources.md"


def test_the_committed_page_is_up_to_date():
    page = PAGE.read_text(encoding="utf-8")
    assert page == sources_page(), "run: python -m cxrcausal.data.source.page > docs/sources.md"


def test_every_public_source_has_its_table():
    page = sources_page()
    for name in list_sources():
        source = load_source(name)
        if source.files:
            assert f'<a id="{name}"></a>' in page
            assert source.licence in page
            assert source.citation in page
            assert all(file.names[0] in page for file in source.files)
