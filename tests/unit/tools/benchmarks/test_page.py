from tools.benchmarks.page import MARK, merged, section

PAGE = f"# Benchmarks\n\nWhy.\n\n{MARK}\n## Three hosts\n\nold\n\n## One more worker\n\nstays\n"


def test_a_section_takes_the_place_of_the_old_one() -> None:
    page = merged(PAGE, "Three hosts", "## Three hosts\n\nnew\n")
    assert page == PAGE.replace("old", "new")


def test_a_section_that_was_not_there_comes_last() -> None:
    page = merged(PAGE, "By hand", "## By hand\n\nx\n")
    assert page == f"{PAGE}\n## By hand\n\nx\n"


def test_what_was_measured_says_when_and_where() -> None:
    text = section("By hand", ["| a |"])
    assert text.startswith("## By hand\n\nMeasured 20")
    assert text.endswith("\n\n| a |\n")
