"""The stable codes that a worker sends, by their names in the list of the agent (`src/code.rs`): a test holds them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# A value is not what it must be.
WRONG_VALUE: Final = "PD0103"
# A key is missing that another one needs.
MISSING_KEY: Final = "PD0104"
# A key or table is given twice.
GIVEN_TWICE: Final = "PD0105"
# A file or folder is not there, or is of the wrong kind.
NO_SUCH_PATH: Final = "PD0106"
# The interpreter, or another program, cannot be started.
NO_INTERPRETER: Final = "PD0107"
# The file is no Python.
SYNTAX_ERROR: Final = "PD0201"
# A module that it imports is not there.
MISSING_MODULE: Final = "PD0202"
# It raised or ended while it was loaded, or cannot be read.
LOAD_FAILED: Final = "PD0203"
# There is nothing in it to run.
NOTHING_TO_RUN: Final = "PD0204"
# A class cannot be made without arguments.
NEEDS_ARGUMENTS: Final = "PD0205"
# It has the name of a module of the standard library.
STANDARD_NAME: Final = "PD0206"
# An interval is no number of seconds above 0.
WRONG_INTERVAL: Final = "PD0209"
# Something is used that this place does not have.
NOT_HERE: Final = "PD0213"
# More files are loaded or read than are watched.
TOO_MANY_FILES: Final = "PD0214"
# A run did not end in time.
RUN_TOO_LONG: Final = "PD0302"
# Runs ended without an error and without a point.
NOTHING_REPORTED: Final = "PD0307"
# A thread of the user's code ended by an exception.
THREAD_RAISED: Final = "PD0310"
# A point has no field that can be kept.
NO_FIELDS: Final = "PD0404"
# A field has no form that can be sent.
FIELD_LEFT_OUT: Final = "PD0406"
# A time is wrong.
WRONG_TIME: Final = "PD0407"
# A tag is wrong.
WRONG_TAG: Final = "PD0408"
# Data have a key for which no chart has a dimension.
NO_DIMENSION: Final = "PD0413"
# A value is no number.
NO_NUMBER: Final = "PD0415"
# A value was changed to one that can be kept.
CHANGED_VALUE: Final = "PD0416"
# There is no right to do it.
NO_RIGHT: Final = "PD0702"
# The disk is full.
DISK_FULL: Final = "PD0704"
# A resource limit cannot be set.
RESOURCE_LIMIT: Final = "PD0705"
# A settings file of another system cannot be parsed.
FOREIGN_SYNTAX: Final = "PD0801"
# A value in a settings file of another system is wrong.
FOREIGN_VALUE: Final = "PD0802"
# A settings file has no module to be for.
NO_MODULE_FOR: Final = "PD0804"
# A file of one dialect lies in the folder of another.
OTHER_DIALECT: Final = "PD0805"
# A part of the settings is for nobody.
FOR_NOBODY: Final = "PD0806"
# A type of values is unknown.
UNKNOWN_TYPE: Final = "PD0807"
# A filter cannot be understood.
WRONG_FILTER: Final = "PD0808"
# A chart or dimension was not added.
NOT_ADDED: Final = "PD0810"
