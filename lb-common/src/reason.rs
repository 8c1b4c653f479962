//! Every way a packet can leave the walk early.

/// What becomes of a packet that was not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To the kernel's stack, unchanged.
    Pass,
    /// Dropped.
    Drop,
    /// Turned into an answer and sent back.
    Answer,
}

labelled! {
    /// Why a packet was not forwarded. The number is the counter's index, the label that of the metric.
    Reason,
    /// The packet's fate: the product's one verdict table.
    verdict: Verdict {
        /// Not IPv4 or IPv6, for example ARP.
        NotIp "not_ip" Pass;
        /// IP, but neither TCP nor UDP.
        NotTcpUdp "not_tcp_udp" Pass;
        /// No service has this destination, port and protocol.
        NotService "not_service" Pass;
        /// The frame ends inside a header.
        Truncated "truncated" Pass;
        /// A header contradicts itself: wrong IP version or a header length below the minimum.
        Malformed "malformed" Pass;
        /// A fragment of an IP packet that is not for one of our addresses.
        Fragment "fragment" Pass;
        /// More than four IPv6 extension headers.
        TooManyExtensions "too_many_extensions" Pass;
        /// An IPv6 routing header with hops still to visit: this is not the packet's final destination.
        SourceRouted "source_routed" Pass;
        /// More than two VLAN tags.
        TooManyTags "too_many_tags" Pass;
        /// SCTP to one of our addresses: no service can have it yet.
        Sctp "sctp" Pass;
        /// An ICMP message to one of our addresses that is neither an echo request nor an error about a flow of ours.
        Icmp "icmp" Pass;
        /// An ICMP echo request to one of our addresses: answered.
        EchoReply "echo_reply" Answer;
        /// Longer than the way to its backend takes: the sender was told (ICMP fragmentation needed, packet too big).
        TooBig "too_big" Answer;
        /// An ICMP message that would have been answered, or caused, above `icmp_rate`.
        IcmpRate "icmp_rate" Drop;
        /// Longer than the way to its backend takes, and the sender does not want to be told: IPv4 without "don't fragment".
        TooBigSilent "too_big_silent" Drop;
        /// TTL or hop limit would reach zero.
        TtlExpired "ttl_expired" Drop;
        /// The service's pool has no backend that may serve.
        NoBackend "no_backend" Drop;
        /// The backend's next hop is not known yet.
        Unresolved "unresolved" Drop;
        /// The frame's VLAN tag could not be changed to the backend's.
        VlanRewrite "vlan_rewrite" Drop;
        /// A fragment whose first one was not seen in the last two seconds.
        FragmentUnknown "fragment_unknown" Drop;
        /// Its source is in `block`, or not in `allow`.
        Blocked "blocked" Drop;
        /// A new connection above `max_new_per_second`.
        Ceiling "ceiling" Drop;
        /// The IP header claims more bytes than the frame has, on a way where that matters.
        BadLength "bad_length" Drop;
        /// The driver left no room in front of the frame for a tunnel's header.
        NoHeadroom "no_headroom" Drop;
        /// A table had no such entry. Anything but 0 is a defect of this program.
        BadTable "bad_table" Drop;
    }
}
