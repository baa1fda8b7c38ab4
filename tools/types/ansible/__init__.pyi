from typing import Any

constants: Any
context: Any
