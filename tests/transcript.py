"""What was said, written down: one line for each message, `who > whom: words (intent)`."""


def line(said):
    """One message; who or whom is unknown is the caller, `you`."""
    return f"{said.sender or 'you'} > {said.to or 'you'}: {said.content} ({said.intent})"


def lines(messages):
    """Each message as a line."""
    return [line(said) for said in messages]


class Notebook:
    """An observer that writes down each event; `said` are the lines of what was said."""

    def __init__(self):
        self.events = []

    def __call__(self, event):
        self.events.append(event)

    def of(self, *kinds):
        """The events of these kinds, in order."""
        return [event for event in self.events if event.kind in kinds]

    @property
    def said(self):
        """The lines of all that was said."""
        return lines(event.message for event in self.of("said"))

    @property
    def course(self):
        """The events that every kind of handler has in common, as lines."""
        return [
            f"{event.kind} {event.node or ''}"
            f" {event.message.content if event.message is not None else event.detail}"
            for event in self.events
            if event.kind != "waits"
        ]
