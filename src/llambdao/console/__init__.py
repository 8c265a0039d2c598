"""People at the console, and tables that show what is said at them.

Between two terminals words come with a name beside them, Markdown is rendered and a line can be
edited (the extra `console`); elsewhere plain lines are read and written.

Whose turn it is, at a table with a person: she sees every word as it comes, and is asked once the
others have said what they have to say to it, never for each word of theirs. An empty line passes;
what she says comes before what is still waiting to be passed on.
What she begins with `@Rumi` is for Rumi: he alone is asked. Who has left (`/quit`, Ctrl-D, the end
of the input) is asked no more; when every person has left, the table ends.
"""

from llambdao.console._human import ConsoleHumanNode
from llambdao.console._screen import Screen, screen
from llambdao.console._tables import ConsoleGroupChatNode, ConsoleRoundTableNode, addressed

__all__ = [
    "ConsoleGroupChatNode",
    "ConsoleHumanNode",
    "ConsoleRoundTableNode",
    "Screen",
    "addressed",
    "screen",
]
