//! Links: their addresses, states and kinds.

use rtnetlink::packet_route::{
    AddressFamily,
    link::{
        BondMode, BondXmitHashPolicy, InfoBond, InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags,
        LinkInfo as Info, LinkMessage, State, VlanProtocol,
    },
};

use super::{
    super::facts::{Kind, LinkInfo, Vlan},
    unicast_mac,
};

/// What a message says of a link; None where it describes none.
pub(super) fn link_info(message: LinkMessage) -> Option<LinkInfo> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let flags = message.header.flags;
    let (mut name, mut mtu, mut state) = (None, None, None);
    let (mut mac, mut lower, mut elsewhere, mut infos) = (None, None, false, Vec::new());
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value),
            LinkAttribute::Mtu(value) => mtu = Some(value),
            LinkAttribute::OperState(value) => state = Some(value),
            LinkAttribute::Address(value) => mac = unicast_mac(&value),
            LinkAttribute::Link(value) => lower = Some(value),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(value) => infos = value,
            _ => {}
        }
    }
    // Wireless drivers announce events as links that carry nothing else: without these three it is no description of a link.
    Some(LinkInfo {
        ifindex: message.header.index,
        name: name?,
        mac,
        mtu: mtu?,
        // Drivers without carrier detection say Unknown.
        up: matches!(state?, State::Up | State::Unknown) && flags.contains(LinkFlags::Up),
        kind: kind(infos, lower.filter(|_| !elsewhere)),
    })
}

fn kind(infos: Vec<Info>, lower: Option<u32>) -> Kind {
    let (mut word, mut data) = (None, None);
    for info in infos {
        match info {
            Info::Kind(value) => word = Some(value),
            Info::Data(value) => data = Some(value),
            _ => {}
        }
    }
    match (word, data) {
        (_, Some(InfoData::Vlan(items))) => Kind::Vlan(vlan(&items, lower)),
        (_, Some(InfoData::Bond(items))) => Kind::Bond { unable: unable_bond(&items) },
        (Some(InfoKind::Bond), _) => Kind::Bond { unable: None },
        (None | Some(InfoKind::Veth | InfoKind::Tun), _) => Kind::Port,
        (Some(other), _) => Kind::Other(other.to_string()),
    }
}

fn vlan(items: &[InfoVlan], lower: Option<u32>) -> Vlan {
    let mut vlan = Vlan { lower, id: 0, service_tag: false };
    for item in items {
        match item {
            InfoVlan::Id(id) => vlan.id = *id,
            InfoVlan::Protocol(protocol) => vlan.service_tag = *protocol != VlanProtocol::Ieee8021Q,
            _ => {}
        }
    }
    vlan
}

/// Why a bond gives no member a frame of an XDP program. The kernel chooses a member in four of its seven modes only, and its choice by
/// `vlan+srcmac` needs what such a frame does not have.
fn unable_bond(items: &[InfoBond]) -> Option<String> {
    items.iter().find_map(|item| match item {
        InfoBond::Mode(
            BondMode::BalanceRr | BondMode::ActiveBackup | BondMode::BalanceXor | BondMode::Ieee8023Ad,
        ) => None,
        InfoBond::Mode(mode) => Some(format!("mode {mode}")),
        InfoBond::XmitHashPolicy(BondXmitHashPolicy::VlanSrcMac) => {
            Some("xmit_hash_policy vlan+srcmac".to_owned())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::RouteNetlinkMessage;

    use super::{super::Notice, *};
    use crate::model::Mac;

    fn message(infos: Vec<Info>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 9;
        message.header.flags = LinkFlags::Up;
        message.attributes = vec![
            LinkAttribute::IfName("eth0.7".to_owned()),
            LinkAttribute::Mtu(1400),
            LinkAttribute::OperState(State::Up),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]),
            LinkAttribute::Link(2),
            LinkAttribute::LinkInfo(infos),
        ];
        message
    }

    fn vlan_link() -> LinkMessage {
        message(vec![
            Info::Kind(InfoKind::Vlan),
            Info::Data(InfoData::Vlan(vec![InfoVlan::Id(7), InfoVlan::Protocol(VlanProtocol::Ieee8021Q)])),
        ])
    }

    fn kind_of(infos: Vec<Info>) -> Kind {
        link_info(message(infos)).expect("a link").kind
    }

    #[test]
    fn a_vlan_device_is_read_with_its_tag_and_lower_interface() {
        let expected = LinkInfo {
            ifindex: 9,
            name: "eth0.7".to_owned(),
            mac: Some(Mac([2, 0, 0, 0, 0, 9])),
            mtu: 1400,
            up: true,
            kind: Kind::Vlan(Vlan { lower: Some(2), id: 7, service_tag: false }),
        };
        assert_eq!(link_info(vlan_link()), Some(expected));
        let mut elsewhere = vlan_link();
        elsewhere.attributes.push(LinkAttribute::LinkNetNsId(1));
        assert_eq!(link_info(elsewhere).and_then(|link| link.vlan()).and_then(|vlan| vlan.lower), None);
    }

    #[test]
    fn hardware_veth_and_tun_are_ports_and_the_rest_is_named() {
        assert_eq!(kind_of(vec![]), Kind::Port);
        assert_eq!(kind_of(vec![Info::Kind(InfoKind::Veth)]), Kind::Port);
        assert_eq!(kind_of(vec![Info::Kind(InfoKind::Tun)]), Kind::Port);
        for (kind, word) in
            [(InfoKind::Bridge, "bridge"), (InfoKind::Team, "team"), (InfoKind::Other("new".into()), "new")]
        {
            assert_eq!(kind_of(vec![Info::Kind(kind)]), Kind::Other(word.to_owned()));
        }
    }

    #[test]
    fn a_bond_is_able_in_the_modes_in_which_the_kernel_chooses_a_member() {
        let bond = |mode, policy| {
            let data = vec![InfoBond::Mode(mode), InfoBond::MiiMon(100), InfoBond::XmitHashPolicy(policy)];
            match kind_of(vec![Info::Kind(InfoKind::Bond), Info::Data(InfoData::Bond(data))]) {
                Kind::Bond { unable } => unable,
                other => panic!("{other:?} is no bond"),
            }
        };
        for mode in [BondMode::BalanceRr, BondMode::ActiveBackup, BondMode::BalanceXor, BondMode::Ieee8023Ad]
        {
            assert_eq!(bond(mode, BondXmitHashPolicy::Layer34), None, "{mode:?}");
        }
        for (mode, word) in [
            (BondMode::Broadcast, "mode broadcast"),
            (BondMode::BalanceTlb, "mode balance-tlb"),
            (BondMode::BalanceAlb, "mode balance-alb"),
        ] {
            assert_eq!(bond(mode, BondXmitHashPolicy::Layer2).as_deref(), Some(word));
        }
        assert_eq!(
            bond(BondMode::BalanceXor, BondXmitHashPolicy::VlanSrcMac).as_deref(),
            Some("xmit_hash_policy vlan+srcmac")
        );
    }

    #[test]
    fn a_link_is_up_only_with_carrier_and_by_the_administrators_will() {
        let up = |flags, state| {
            let mut message = vlan_link();
            message.header.flags = flags;
            message.attributes[2] = LinkAttribute::OperState(state);
            link_info(message).is_some_and(|link| link.up)
        };
        assert!(up(LinkFlags::Up, State::Up));
        assert!(up(LinkFlags::Up, State::Unknown));
        assert!(!up(LinkFlags::Up, State::LowerLayerDown));
        assert!(!up(LinkFlags::Up, State::Dormant));
        assert!(!up(LinkFlags::empty(), State::Unknown));
    }

    #[test]
    fn messages_that_describe_no_link_are_skipped() {
        let mut port = vlan_link();
        port.header.interface_family = AddressFamily::Bridge;
        assert_eq!(Notice::from(RouteNetlinkMessage::NewLink(port.clone())), Notice::Nothing);
        assert_eq!(Notice::from(RouteNetlinkMessage::DelLink(port)), Notice::Nothing);
        let mut wireless = vlan_link();
        wireless.attributes.remove(1);
        assert_eq!(Notice::from(RouteNetlinkMessage::NewLink(wireless)), Notice::Nothing);
        assert_eq!(Notice::from(RouteNetlinkMessage::DelLink(vlan_link())), Notice::LinkGone(9));
    }
}
