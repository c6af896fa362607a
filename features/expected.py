"""What a value of a setting should have been, in words, by what pydantic calls its error."""

from collections.abc import Mapping
from typing import Any

A_NUMBER, A_WHOLE_NUMBER, YES_OR_NO = "a number", "a whole number", "true or false"
A_LIST, SOME_KEYS = "a list", "keys with values"
WORDS = {
    "int_parsing": A_WHOLE_NUMBER,
    "int_parsing_size": A_WHOLE_NUMBER,
    "int_type": A_WHOLE_NUMBER,
    "int_from_float": A_WHOLE_NUMBER,
    "float_parsing": A_NUMBER,
    "float_type": A_NUMBER,
    "finite_number": "a finite number",
    "bool_parsing": YES_OR_NO,
    "bool_type": YES_OR_NO,
    "string_type": "text",
    "string_too_short": "text of {min_length} character or more",
    "path_type": "a path",
    "list_type": A_LIST,
    "tuple_type": A_LIST,
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
    "dict_type": SOME_KEYS,
    "model_type": SOME_KEYS,
    "missing": "given",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
    "literal_error": "one of {expected}",
}


def expected(error: Mapping[str, Any]) -> str:
    """Return what a value should have been.

    Parameters
    ----------
    error : mapping
        One of pydantic's: ``type``, ``msg`` and, with some, ``ctx``. Of a type that is not its own
        the message is what is said.

    Examples
    --------
    >>> expected({"type": "greater_than", "ctx": {"gt": 0.0}}), expected({"type": "bool_parsing"})
    ('must be greater than 0', 'must be true or false')
    """
    words = WORDS.get(error["type"])
    return str(error["msg"]) if words is None else f"must be {words.format(**error.get('ctx', {}))}"
