import json
import logging
import logging.config
import sys

from serving import logs


def line_of(record):
    return json.loads(logs.JsonLines().format(record))


def record_of(**fields):
    return logging.makeLogRecord(
        {"msg": "up", "name": "serving", "levelname": "INFO", "created": 1_767_225_600.5} | fields
    )


def test_a_record_is_one_json_object():
    assert line_of(record_of(address="http://127.0.0.1:1", msg="ready %s", args=("名",))) == {
        "time": "2026-01-01T00:00:00.500000Z",
        "level": "INFO",
        "logger": "serving",
        "message": "ready 名",
        "address": "http://127.0.0.1:1",
    }


def test_of_an_exception_only_its_class_and_place_are_told():
    try:
        int("yamada@example.com")
    except ValueError:
        line = line_of(record_of(exc_info=sys.exc_info()))
    assert line["error"] == "ValueError"
    assert line["raised_in"][0].endswith("test_of_an_exception_only_its_class_and_place_are_told")
    assert "yamada" not in json.dumps(line)


def test_the_configuration_is_one_that_logging_takes(capsys):
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logging.config.dictConfig(logs.config("warning"))
        logging.getLogger("anyone").warning("seen")
        logging.getLogger("anyone").info("not seen")
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
    assert json.loads(capsys.readouterr().err)["message"] == "seen"


def test_a_record_stays_one_line_whatever_it_holds():
    hostile = 'a\r\nb\n{"level": "ERROR"}\u2028\u2029\x85\x1b[31m\x00\ud800'
    written = logs.JsonLines().format(record_of(msg="%s", args=(hostile,), route=hostile))
    assert len(written.splitlines()) == 1
    written.encode()
    assert json.loads(written)["route"] == hostile
