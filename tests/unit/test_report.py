from diptych.report import AddReport, Failure


def failures(count):
    return tuple(Failure(f"id{n}", f"{n}.jpg", "truncated") for n in range(count))


def test_a_report_is_one_line():
    report = AddReport(412, 0, 3, (Failure("scan7.jpg", "scan7.jpg", "truncated"),))
    assert str(report) == "412 added · 3 skipped (unchanged) · 1 failed: scan7.jpg (truncated)"


def test_what_did_not_happen_is_not_said():
    assert str(AddReport()) == "0 added"
    assert str(AddReport(added=1234, updated=2)) == "1,234 added · 2 updated"


def test_only_the_first_failures_are_named():
    line = str(AddReport(failed=failures(7)))
    assert line.endswith("4.jpg (truncated) and 2 more")
    assert "5.jpg" not in line


def test_reports_add_up_in_order():
    total = AddReport(1, 2, 3, failures(1)) + AddReport(10, 20, 30, failures(2)[1:])
    assert total == AddReport(11, 22, 33, failures(2))


def test_a_failure_without_a_source_is_named_by_its_id():
    assert str(Failure("a#1", "", "empty")) == "a#1 (empty)"
