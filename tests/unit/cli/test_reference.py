"""`.env.example` names every variable, and only names."""

from cli import reference


def test_it_lists_every_variable_of_every_service_once():
    names = [
        line[1:].partition("=")[0]
        for line in reference.render().splitlines()
        if line.startswith("#") and "=" in line and not line.startswith("# ")
    ]
    assert len(names) == len(set(names))
    assert {
        "KAFKA__BOOTSTRAP_SERVERS",
        "EXECUTOR__RUN_SLOTS",
        "SANDBOX__KAFKA_PORT",
        "CADENZA_URL",
    } <= set(names)


def test_it_is_current():
    assert reference.main(["--check"]) == 0
