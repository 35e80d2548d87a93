"""What people and programs tell a run: signals and verdicts. Work of transactions, harmless to do again."""

from quantum_suite.core.errors import Conflict
from quantum_suite.core.ids import new_id
from quantum_suite.services.workflows.dbos.ledger import Transaction, Work
from quantum_suite.services.workflows.dbos.rows import append_event, dump, now_ms
from quantum_suite.services.workflows.dbos.steering import hold_run, tell
from quantum_suite.services.workflows.dbos.transitions import first_question, read_waiting, save_waiting
from quantum_suite.services.workflows.events import ApprovalGiven
from quantum_suite.services.workflows.interface import FINAL, Json, Verdict


def send_signal(run_id: str, topic: str, payload: Json, key: str | None) -> Work[None]:
    """Keep a signal for a run, once for a key. Raises Conflict when the run has ended."""
    message_id = new_id("sig") if key is None else f"{topic}\n{key}\n{run_id}"
    message = dump(payload)

    def work(transaction: Transaction) -> None:
        state, _, _ = hold_run(transaction, run_id)
        if transaction.one("SELECT 1 FROM dbos.notifications WHERE message_uuid = ?", message_id) is not None:
            return
        if state in FINAL:
            raise Conflict(f"Run {run_id} is {state}: it hears no signals.", argument="run")
        row = transaction.one(
            "SELECT max(created_at_epoch_ms) FROM dbos.notifications WHERE destination_uuid = ? AND topic = ?",
            run_id,
            topic,
        )
        last = row[0] if row and row[0] is not None else 0
        transaction.run(
            "INSERT INTO dbos.notifications (destination_uuid, topic, message, message_uuid, created_at_epoch_ms, "
            "serialization) VALUES (?, ?, ?, ?, ?, 'portable_json')",
            run_id,
            topic,
            message,
            message_id,
            max(now_ms(), last + 1),
        )
        tell(transaction, run_id)

    return work


def give_verdict(run_id: str, verdict: Verdict) -> Work[None]:
    """Answer the open question asked first; raises Conflict when there is none."""
    event_id = new_id("evt")

    def work(transaction: Transaction) -> None:
        state, _, _ = hold_run(transaction, run_id)
        waiting = {} if state in FINAL else read_waiting(transaction, run_id)
        answered = [spec for spec in waiting.values() if spec.get("answer") == event_id]
        if answered:  # this very work was done before, and is done again
            return
        question = first_question({place: spec for place, spec in waiting.items() if spec["until_ms"] > now_ms()})
        if question is None:
            raise Conflict(f"Run {run_id} waits for no approval.", "Look at its status.", argument="run")
        question["verdict"] = {"approved": verdict.approved, "by": verdict.by, "reason": verdict.reason}
        question["answer"] = event_id
        save_waiting(transaction, run_id, waiting)
        append_event(
            transaction,
            run_id,
            event_id,
            ApprovalGiven(step=question["number"], approved=verdict.approved),
            principal=verdict.by,
        )
        tell(transaction, run_id)

    return work
