"""Holding a lease while something is done, and being elected for it again and again."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio

from quantum_suite.core.errors import Fenced, SuiteError, Unavailable
from quantum_suite.services.leases.interface import Lease, LeaseStore

logger = logging.getLogger(__name__)

_RELEASE_SECONDS = 2.0
_RENEWALS_A_TERM = 3
_LONGEST_PAUSE_SECONDS = 5.0


@asynccontextmanager
async def holding(store: LeaseStore, name: str, holder: str, ttl_seconds: float) -> AsyncIterator[Lease]:
    """Wait until the lease is had, keep it by renewing it, and give it up with the block.

    The block is cancelled when the lease is lost, or cannot be renewed while it lasts; the context then raises
    Fenced. Between the loss and the block's next await somebody else may hold it: writes carry `lease.fence`.
    """
    asked_at, lease = await _acquired(store, name, holder, ttl_seconds)
    failure: Exception | None = None
    held = anyio.CancelScope(deadline=asked_at + ttl_seconds)
    try:
        with held:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_renew, store, lease, held)
                try:
                    yield lease
                except Exception as error:
                    failure = error  # raised below, so that the task group does not wrap it
                tasks.cancel_scope.cancel()
    finally:
        await _release(store, lease)
    if failure is not None:
        raise failure
    if held.cancelled_caught:
        raise Fenced(f"The lease {name} was lost.", "Somebody else holds it, or its store was away for too long.")


async def lead(
    store: LeaseStore,
    name: str,
    holder: str,
    ttl_seconds: float,
    work: Callable[[Lease], Awaitable[None]],
) -> None:
    """Do `work` whenever `holder` has the lease, until `work` returns.

    It is cancelled when the lease is lost and begun again with the next one; so it is when it raises Fenced.
    Other errors of its end this.
    """
    while True:
        try:
            async with holding(store, name, holder, ttl_seconds) as lease:
                logger.info("%s leads %s (token %d).", holder, name, lease.token)
                await work(lease)
            return
        except Fenced as error:
            logger.warning("%s leads %s no longer: %s", holder, name, error.message)
            await anyio.sleep(_pause_seconds(ttl_seconds))


async def _acquired(store: LeaseStore, name: str, holder: str, ttl_seconds: float) -> tuple[float, Lease]:
    """Return the lease and when it was asked for."""
    away = False
    while True:
        asked_at = anyio.current_time()
        try:
            lease = await _asked(store, name, holder, ttl_seconds)
        except Unavailable as error:
            if not away:
                logger.warning("The lease %s has to wait: %s", name, error.message)
            away = True
        else:
            if away:
                logger.warning("The store of the lease %s is back.", name)
            away = False
            if lease is not None:
                return asked_at, lease
        await anyio.sleep(_pause_seconds(ttl_seconds))


async def _asked(store: LeaseStore, name: str, holder: str, ttl_seconds: float) -> Lease | None:
    """Return the lease, None while somebody else holds it. Cancelled, it leaves none behind.

    The store may have given a lease whose answer nobody waits for any more: nobody would give it up.
    """
    try:
        return await store.acquire(name, holder, ttl_seconds)
    except anyio.get_cancelled_exc_class():
        with anyio.move_on_after(_RELEASE_SECONDS, shield=True), suppress(SuiteError):
            if (lease := await store.acquire(name, holder, ttl_seconds)) is not None:
                await store.release(lease)
        raise


async def _renew(store: LeaseStore, lease: Lease, held: anyio.CancelScope) -> None:
    """Renew the lease until it is lost, moving the end of `held` along; while the store is away the end stays."""
    pause = lease.ttl_seconds / _RENEWALS_A_TERM
    while True:
        await anyio.sleep(pause)
        asked_at = anyio.current_time()
        try:
            kept = await store.renew(lease)
        except SuiteError as error:
            logger.warning("The lease %s could not be renewed: %s", lease.name, error.message)
            pause = lease.ttl_seconds / _RENEWALS_A_TERM / _RENEWALS_A_TERM
            continue
        if not kept:
            held.cancel()
            return
        held.deadline = asked_at + lease.ttl_seconds
        pause = lease.ttl_seconds / _RENEWALS_A_TERM


async def _release(store: LeaseStore, lease: Lease) -> None:
    with anyio.move_on_after(_RELEASE_SECONDS, shield=True):
        try:
            await store.release(lease)
        except SuiteError as error:
            logger.warning("The lease %s ends by itself: %s", lease.name, error.message)


def _pause_seconds(ttl_seconds: float) -> float:
    return min(ttl_seconds / _RENEWALS_A_TERM, _LONGEST_PAUSE_SECONDS)
