import pytest

from regard.errors import DataError
from regard.evaluation.alignment import Gold, alignment_error_rate, format_links, parse_gold, parse_links


def test_perfect_links_have_no_error_and_none_at_all_have_every():
    gold = parse_gold("0-0 1-2 2p1")
    assert alignment_error_rate([gold.sure], [gold]) == 0
    assert alignment_error_rate([gold.possible], [gold]) == 0
    assert alignment_error_rate([frozenset()], [gold]) == 100


def test_the_formula_of_och_and_ney():
    gold = Gold(frozenset({(0, 0), (1, 1)}), frozenset({(0, 0), (1, 1), (2, 2)}))
    system = frozenset({(0, 0), (2, 2), (3, 3)})
    assert alignment_error_rate([system], [gold]) == pytest.approx(100 * (1 - (1 + 2) / (3 + 2)))


def test_links_are_read_and_written_in_pharaoh_format():
    assert format_links(parse_links("2-1 0-0")) == "0-0 2-1"
    assert parse_links("1-1", first=1) == {(0, 0)}


@pytest.mark.parametrize("line", ["1:2", "a-b", "1-"])
def test_what_is_no_link_is_refused_with_its_place(line):
    with pytest.raises(DataError, match=r"gold\.txt:7"):
        parse_gold(line, where="gold.txt:7")


def test_counting_from_nought_where_one_was_promised_is_refused():
    with pytest.raises(DataError, match="counted from 1"):
        parse_gold("0-1", first=1)


@pytest.mark.parametrize(("pair", "published"), [("enfr", 4.07), ("roen", 20.75), ("zhen", 13.31)])
def test_known_answers_on_the_gold_standards(data_root, pair, published):
    folder = data_root / "word-alignment"

    def lines(name: str) -> list[str]:
        return (folder / name).read_text(encoding="utf-8").split("\n")[:-1]

    golds = [parse_gold(line, first=1) for line in lines(f"{pair}.gold")]
    systems = [parse_links(line) for line in lines(f"{pair}.awesome-align.out")]
    assert alignment_error_rate(systems, golds) == pytest.approx(published, abs=0.005)
