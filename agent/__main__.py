"""`python -m agent` is `nightjar`."""

from agent.cli import main

main()
