"""The configuration: read, checked as a whole, explained. A problem names its file, line, key and what would be right."""

from postlatch.settings.load import check_right, choose_path, default_paths, load, load_text
from postlatch.settings.problem import Problem, SettingsError
from postlatch.settings.tomlines import find_line
from postlatch.settings.tree import Settings

__all__ = [
    "Problem",
    "Settings",
    "SettingsError",
    "check_right",
    "choose_path",
    "default_paths",
    "find_line",
    "load",
    "load_text",
]
