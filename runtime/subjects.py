"""Whose data was forgotten: a service that every runtime has writes it into the journal, for read models to follow."""

from actors import Address, Command, Decision, Service, State
from actors.personal import SubjectForgotten


class NoteForgotten(Command["Subjects", None], tag="runtime.note-forgotten"):
    """Write down that a subject's key was destroyed. The key's id is the command's too, so that it is told once."""

    subject: str
    key: str


class Subjects(Service[State, NoteForgotten, SubjectForgotten]):
    """Its stream has one event for each key that was destroyed."""

    initial = State()

    def decide(self, state: State, command: NoteForgotten) -> Decision:  # noqa: ARG002 (there is none)
        """Tell it."""
        return command.reply(None, SubjectForgotten(command.subject, command.key))

    def evolve(self, state: State, event: SubjectForgotten) -> State:  # noqa: ARG002 (the keys know)
        """Keep nothing."""
        return state


# A name with a dot is the runtime's own: no class of a user's can have it.
Subjects.__name__ = "runtime.subjects"
SUBJECTS: Address[Subjects] = Subjects.at()
