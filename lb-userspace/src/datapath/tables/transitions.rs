//! The life of a slot: what becomes of it when its owner changes or dies (design 4.3). Pure.
//!
//! | before | wanted ≠ `cur` | base dead |
//! |---|---|---|
//! | stable, owner keeps its flows | `base := cur`, in transition, `cur := wanted` | - |
//! | stable, owner is dead | `cur := wanted`, stable: its flows have nowhere to stay | - |
//! | in transition | `cur := wanted`: flows of the old `cur` are all pinned | `base := cur` |
//!
//! A slot in transition never becomes stable here, whoever dies: pins may bind flows to anybody. The sweep ends the transition when
//! nothing but `cur` was used for long enough.

use lb_common::slot::Slot;

/// A slot with its base. The base of a stable slot means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) slot: Slot,
    pub(super) base: u16,
}

impl State {
    pub(super) const fn stable(cur: u16) -> Self {
        Self { slot: Slot::stable(cur), base: cur }
    }
}

/// What a slot becomes when `wanted` (0 is nobody) should own it. `alive` says whether a backend keeps its established flows.
/// The flag: the slot's idle time starts anew, because flows that were `cur`'s a moment ago are from now on not.
pub(super) fn next(state: State, wanted: u16, alive: impl Fn(u16) -> bool) -> (State, bool) {
    let cur = state.slot.cur();
    if !state.slot.in_transition() {
        return if wanted == cur {
            (state, false)
        } else if alive(cur) {
            let moving = State { slot: Slot::moving(wanted), base: cur };
            (moving, true)
        } else {
            (State { slot: Slot::stable(wanted), ..state }, false)
        };
    }
    let base = if alive(state.base) { state.base } else { wanted };
    let moving = State { slot: Slot::moving(wanted), base };
    (moving, wanted != cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD: u16 = 9;

    fn moving(cur: u16, base: u16) -> State {
        State { slot: Slot::moving(cur), base }
    }

    fn after(state: State, wanted: u16) -> (State, bool) {
        next(state, wanted, |b| b != 0 && b != DEAD)
    }

    #[test]
    fn a_stable_slot_leaves_its_flows_with_an_owner_that_lives() {
        assert_eq!(after(State::stable(1), 1), (State::stable(1), false));
        assert_eq!(after(State::stable(1), 2), (moving(2, 1), true));
        assert_eq!(after(State::stable(1), 0), (moving(0, 1), true));
    }

    #[test]
    fn a_stable_slot_moves_at_once_when_its_owner_is_dead_or_nobody() {
        assert_eq!(after(State::stable(DEAD), 2).0.slot, Slot::stable(2));
        assert_eq!(after(State::stable(0), 2).0.slot, Slot::stable(2));
        assert_eq!(after(State::stable(DEAD), 0).0.slot, Slot::stable(0));
    }

    #[test]
    fn a_slot_in_transition_keeps_its_base_while_that_lives() {
        assert_eq!(after(moving(2, 1), 3), (moving(3, 1), true));
        assert_eq!(after(moving(2, 1), 2), (moving(2, 1), false));
        assert_eq!(after(moving(DEAD, 1), 3), (moving(3, 1), true));
        assert_eq!(after(moving(2, 1), 1), (moving(1, 1), true), "re-pooled: interim flows stay pinned");
    }

    #[test]
    fn a_dead_base_gives_way_to_the_current_owner_but_pins_still_count() {
        assert_eq!(after(moving(2, DEAD), 2), (moving(2, 2), false));
        assert_eq!(after(moving(2, DEAD), 3), (moving(3, 3), true));
        assert_eq!(after(moving(DEAD, DEAD), 3), (moving(3, 3), true));
        assert_eq!(after(moving(2, 0), 2), (moving(2, 2), false));
    }
}
