"""Every method in every place, against the record of which docs/compatibility.md is made. No cell fails silently."""

import cells
import compatibility_page
import outcomes
import pytest
import torch
from outcomes import COMMAND

# What the host's own samplers and schedulers warn of, and PyTorch's compiler.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t"),
    pytest.mark.filterwarnings("ignore:To copy construct from a tensor"),
    pytest.mark.filterwarnings("ignore:__array_wrap__"),
]
RECORD = outcomes.load()
HOST = cells.host_version()
ROWS = cells.rows()


def test_the_record_has_the_rows_and_columns_of_the_lists():
    missing, extra = sorted(set(ROWS) - set(RECORD.rows())), sorted(set(RECORD.rows()) - set(ROWS))
    assert not missing and not extra, (
        f"rows without a record: {missing}; without a method: {extra}: run `python dev.py docs`"
    )
    columns = {table: list(columns) for table, columns in cells.tables().items()}
    assert RECORD.columns == columns, "the columns have changed: run `python dev.py docs`"


def test_no_recorded_cell_fails_silently_on_any_host():
    assert not RECORD.faults()


def test_the_newest_host_has_everything():
    absent = [cell for cell, outcome in RECORD.hosts[RECORD.newest].items() if outcome.verdict == outcomes.ABSENT]
    assert not absent


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_what_is_seen_is_what_is_recorded(row):
    seen = {cell: cells.observed(cell) for cell in cells.cells_of(row)}
    changed = [
        f"{cell.table}, {cell.column}: recorded {RECORD.at(cell, HOST)}, seen {outcome}"
        for cell, outcome in seen.items()
        if outcome != RECORD.at(cell, HOST)
    ]
    assert not changed, "\n".join([f"{row} is not what the record says: mend it, or run `{COMMAND}`", *changed])


def test_a_method_that_saved_nothing_is_not_said_to_work():
    """What differs there is what the pack does by itself where a negative ends."""
    idle, repair = "The node skipped 0 of 3 negative passes.", "Azimuth: the negative's time range does not reach ..."
    assert cells.with_effect(outcomes.Outcome(outcomes.WORKS, (repair, idle))) == (outcomes.NOTHING, (repair, idle))
    assert cells.with_effect(outcomes.Outcome(outcomes.WORKS, (idle,))).verdict == outcomes.UNTRUE
    assert cells.with_effect(outcomes.Outcome(outcomes.WORKS, (repair,))).verdict == outcomes.WORKS


def test_the_file_reads_as_it_is_written():
    assert outcomes.written(RECORD) == outcomes.RECORD.read_text(encoding="utf-8"), "run `python dev.py docs`"


def test_the_page_is_what_the_record_renders_to():
    page = compatibility_page.PATH.read_text(encoding="utf-8")
    assert page == compatibility_page.page(RECORD), "run `python dev.py docs`"


# ---- records of several hosts

TABLES = {"KSampler": ["A", "B"]}
YES, WHY = outcomes.Outcome("yes"), outcomes.Outcome("no", ("It has no effect here.",))


def cell(column, row="APG"):
    return outcomes.Cell("KSampler", row, column)


def made(**hosts):
    """A record of hosts called v1, v2, ...: each a dictionary of cells."""
    record = outcomes.Record()
    for name, seen in hosts.items():
        record.take(f"0.{name[1:]}.0", seen)
    record.keep(["APG"], TABLES)
    return record


def test_recording_on_one_host_keeps_what_others_said():
    record = made(v9={cell("A"): YES, cell("B"): WHY}, v30={cell("A"): YES, cell("B"): YES})
    again = outcomes.read(outcomes.written(record))
    assert again == record and again.newest == "0.30.0"
    assert again.at(cell("B"), "0.9.0") == WHY and again.at(cell("B")) == YES
    again.take("0.30.0", {cell("A"): WHY})
    again = outcomes.read(outcomes.written(again))
    assert again.at(cell("A")) == WHY and again.at(cell("A"), "0.9.0") == YES
    assert outcomes.written(record) == outcomes.written(
        made(**{"v30": record.hosts["0.30.0"], "v9": record.hosts["0.9.0"]})
    )


def test_a_cell_that_one_host_alone_has_tried_is_unknown_on_the_others():
    record = made(v9={cell("A"): YES}, v30={cell("A"): YES, cell("B"): YES})
    again = outcomes.read(outcomes.written(record))
    assert again.lacks(cell("B"), "0.9.0") and not again.lacks(cell("A"), "0.9.0")
    older = outcomes.read(outcomes.written(made(v9={cell("A"): YES, cell("B"): YES}, v30={cell("A"): YES})))
    assert older.lacks(cell("B"), "0.30.0") and older.at(cell("B"), "0.9.0") == YES


def test_a_host_without_a_record_is_held_to_the_newest_that_has_one():
    assert made(v9={cell("A"): WHY}, v30={cell("A"): YES}).at(cell("A"), "0.31.0") == YES


def test_rows_and_columns_that_are_gone_leave_the_record():
    record = made(v30={cell("A"): YES, cell("A", row="gone"): WHY, cell("gone"): WHY})
    assert set(record.hosts["0.30.0"]) == {cell("A")} and "no effect" not in outcomes.written(record)


def test_a_row_that_a_host_has_not_tried_is_one_line_of_the_page():
    record = made(
        v9={cell("A"): YES, cell("B"): outcomes.Outcome(outcomes.ABSENT)}, v30={cell("A"): YES, cell("B"): YES}
    )
    record.take("0.30.0", {cell("A", "new"): YES, cell("B", "new"): YES})
    book = compatibility_page.Book(outcomes.read(outcomes.written(record)), {})
    lines = compatibility_page.differences(book, "0.9.0")
    assert lines == "- new: not tried yet.\n- KSampler (B): it has no such thing."


def test_a_column_that_a_host_has_not_tried_is_one_line_of_the_page():
    record = made(v9={cell("A"): YES}, v30={cell("A"): YES, cell("B"): WHY})
    book = compatibility_page.Book(outcomes.read(outcomes.written(record)), {})
    assert compatibility_page.differences(book, "0.9.0") == "- KSampler (B): not tried yet."


def test_a_result_is_held_to_another_unless_a_new_sentence_says_why():
    wanted, off = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 1.0, 2.5])
    usual = outcomes.Outcome(outcomes.WORKS, ("It adds no noise.",))
    assert cells.held_to(wanted, wanted, usual, usual.sentences) == usual
    assert cells.held_to(wanted, off, usual, usual.sentences).verdict == outcomes.MOVED
    assert cells.held_to(wanted, off, usual, usual.sentences, allowed=0.4) == usual
    assert cells.held_to(wanted, off, usual) == usual
    assert cells.held_to(wanted, off, WHY) == WHY


def test_lazy_cache_repeats_steps_as_the_sampler_that_it_is_held_to():
    family = cells.FAMILY["SD 1.5"]
    (lazy,) = [neighbour for neighbour in cells.NEIGHBOURS if neighbour.whole]
    steps = cells.repeated_steps(lazy, family)
    repeated = cells.sampled(family.build(), family, "CFG Guider", cells.repeating(steps), lazy.steps)
    assert len(steps) == 2 and torch.equal(repeated, cells.with_neighbour_alone(lazy, family))


@pytest.mark.parametrize("fault", outcomes.FAULTS)
def test_a_fault_on_any_host_is_a_fault_of_the_record(fault):
    record = made(v9={cell("A"): outcomes.Outcome(fault)}, v30={cell("A"): YES})
    assert record.faults() == [cell("A")] and record.lacks(cell("A"), "0.9.0")
