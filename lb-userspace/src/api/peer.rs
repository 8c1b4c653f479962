//! Who is on the other end of the socket.

use std::ffi::CString;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};

use super::{error::ApiError, reads::blocking};

/// The credentials that the kernel noted when the peer connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
}

/// A peer that may write, by login name: an extension of each request that passed [`only_writers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer(pub String);

/// The group of the configuration, if there is one of that name.
pub fn group(name: &str) -> Option<Gid> {
    match Group::from_name(name) {
        Ok(Some(group)) => Some(group.gid),
        Ok(None) => {
            tracing::warn!(
                group = name,
                "no such group: only root may use the control socket. `groupadd --system {name}` and restart lbd"
            );
            None
        }
        Err(error) => {
            tracing::warn!(group = name, %error, "the group could not be looked up: only root may use the control socket");
            None
        }
    }
}

/// Whether a peer may write, and under which name. Asks the user database, which may be slow.
pub fn writer(peer: Peer, group: Option<Gid>) -> Option<Writer> {
    let uid = Uid::from_raw(peer.uid);
    let user = User::from_uid(uid).ok().flatten();
    let member = || {
        let group = group?;
        if peer.gid == group.as_raw() {
            return Some(());
        }
        let user = user.as_ref()?;
        let name = CString::new(user.name.as_str()).ok()?;
        getgrouplist(&name, user.gid).ok()?.contains(&group).then_some(())
    };
    if !uid.is_root() && uid != geteuid() && member().is_none() {
        return None;
    }
    Some(Writer(user.as_ref().map_or_else(|| format!("uid {}", peer.uid), |user| user.name.clone())))
}

/// Lets writers through, with their name; answers 403 to others.
pub async fn only_writers(State(group): State<Option<Gid>>, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return refusal("nobody knows who you are").into_response();
    };
    match blocking(move || writer(peer, group)).await {
        Ok(Some(writer)) => {
            request.extensions_mut().insert(writer);
            next.run(request).await
        }
        Ok(None) => {
            tracing::warn!(uid = peer.uid, path = request.uri().path(), "a write was refused");
            refusal(&format!("uid {} may not change anything here", peer.uid)).into_response()
        }
        Err(error) => error.into_response(),
    }
}

fn refusal(why: &str) -> ApiError {
    ApiError::new(
        axum::http::StatusCode::FORBIDDEN,
        why,
        "use sudo, or become a member of the group `socket_group` of lbd.toml names",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_daemons_own_user_may_write_under_their_name() {
        let root = Peer { uid: 0, gid: 0 };
        assert_eq!(writer(root, None), Some(Writer("root".into())));
        let own = Peer { uid: geteuid().as_raw(), gid: 65_533 };
        assert!(writer(own, None).is_some());
    }

    #[test]
    fn a_stranger_may_write_only_as_a_member_of_the_group() {
        let stranger = Peer { uid: 54_321, gid: 54_321 };
        assert_eq!(writer(stranger, None), None);
        assert_eq!(writer(stranger, Some(Gid::from_raw(7))), None);
        assert_eq!(writer(stranger, Some(Gid::from_raw(54_321))), Some(Writer("uid 54321".into())));
    }
}
