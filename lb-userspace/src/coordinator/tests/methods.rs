//! Ways through routers: which forwarding method can use them.

use super::*;

const ROUTER: Mac = Mac([2, 0, 0, 0, 7, 7]);

fn router() -> IpAddr {
    [10, 0, 0, 7].into()
}

/// The way to an address behind a router.
fn routed(backend: &str) -> NextHop {
    NextHop { dst_mac: ROUTER, gateway: Some(router()), ..hop(address(backend)) }
}

fn with_methods(backends: &[(&str, Method)]) -> Pool {
    let names: Vec<_> = backends.iter().map(|(name, _)| *name).collect();
    let mut pool = pool("text", &names);
    for (name, method) in backends {
        edit(&mut pool, name, |b| b.method = *method);
    }
    pool
}

/// All up; these behind a router, the others on the segment.
fn world(backends: &[(&str, Method)], behind: &[&str]) -> World {
    let mut world = World::healthy(with_methods(backends));
    for backend in behind {
        world.resolve(address(backend), Ok(routed(backend)));
    }
    world
}

fn behind_gateway(address: &str) -> String {
    format!(
        "{address} is behind gateway 10.0.0.7; direct routing needs it on the same segment; method = \"ipip\" or \"gue\" \
         goes through routers"
    )
}

#[test]
fn behind_a_router_tunnels_serve_and_direct_routing_does_not() {
    let world = &mut world(
        &[("b1", Method::Dr), ("b2", Method::Ipip), ("b3", Method::Gue), ("b4", Method::Dr)],
        &["b1", "b2", "b3"],
    );
    assert_eq!(world.line(), "b1=out b2=serving b3=serving b4=serving");
    assert_eq!(world.view("b1").why, behind_gateway("10.0.0.1"));
    assert_eq!(world.view("b1").next_hop, Err(behind_gateway("10.0.0.1")));
    for backend in ["b2", "b3"] {
        assert_eq!(world.view(backend).next_hop, Ok(routed(backend)));
        assert_eq!(world.wanted(backend).next_hop, Some(routed(backend)));
    }
    assert_eq!(world.pool().up_and_enabled, 3);
}

#[test]
fn a_tunnel_on_the_segment_and_one_whose_router_changes_serve_on() {
    let world = &mut world(&[("b1", Method::Ipip), ("b2", Method::Ipip)], &["b2"]);
    assert_eq!(world.wanted("b1").next_hop, Some(hop(address("b1"))));
    let other = NextHop { gateway: Some([10, 0, 0, 8].into()), ..routed("b2") };
    world.resolve(address("b2"), Ok(other));
    assert_eq!(world.wanted("b2").next_hop, Some(other));
    assert_eq!(world.line(), "b1=serving b2=serving");
}

#[test]
fn a_reload_that_changes_the_method_judges_the_known_way_anew() {
    let tunnelled = [("b1", Method::Gue), ("b2", Method::Dr)];
    let world = &mut world(&tunnelled, &["b1"]);
    assert_eq!(world.line(), "b1=serving b2=serving");
    world.reload(config(vec![with_methods(&[("b1", Method::Dr), ("b2", Method::Dr)])])).unwrap();
    assert_eq!(world.line(), "b1=out b2=serving");
    assert_eq!(world.view("b1").why, behind_gateway("10.0.0.1"));
    assert_eq!(world.wanted("b1").next_hop, Some(hop(address("b1"))), "as it was on the segment");
    // The neighbour table has nothing new to say, and need not.
    world.reload(config(vec![with_methods(&tunnelled)])).unwrap();
    assert_eq!(world.line(), "b1=serving b2=serving");
    assert_eq!(world.wanted("b1").next_hop, Some(routed("b1")));
}

#[test]
fn a_reload_to_direct_routing_through_a_router_does_not_empty_a_pool() {
    let mut world = World::cold(vec![with_methods(&[("b1", Method::Ipip), ("b2", Method::Ipip)])]);
    for backend in ["b1", "b2"] {
        world.resolve(address(backend), Ok(routed(backend)));
        world.up(backend);
    }
    assert_eq!(world.line(), "b1=serving b2=serving");
    world.reload(config(vec![pool("text", &["b1", "b2"])])).unwrap();
    assert_eq!(world.line(), "b1=held b2=held");
    assert_eq!(world.wanted("b2").next_hop, None, "no way by which it could: the kernel's record stays");
}

#[test]
fn a_route_that_moves_behind_a_router_leaves_direct_routing_its_last_way() {
    let world = &mut world(&[("b1", Method::Dr)], &["b1"]);
    assert_eq!(world.is("b1"), Disposition::Held);
    assert!(world.view("b1").why.starts_with(&behind_gateway("10.0.0.1")));
    assert_eq!(world.wanted("b1").next_hop, Some(hop(address("b1"))));
    world.find_way("b1");
    assert_eq!(world.is("b1"), Disposition::Serving);
}

#[test]
fn a_tunnel_without_a_source_is_held_out_until_one_is_configured() {
    let methods = [("b1", Method::Ipip), ("b2", Method::Dr)];
    let mut world = World::healthy(with_methods(&methods));
    for backend in ["b1", "b2"] {
        world.resolve(address(backend), Ok(NextHop { source: None, ..hop(address(backend)) }));
    }
    assert_eq!(world.line(), "b1=out b2=serving");
    let why = world.view("b1").why;
    assert!(why.starts_with("this host has no address from which to send to 10.0.0.1"), "{why}");
    assert!(why.ends_with("write source4 in [lbd.tunnel]"), "{why}");
    let mut sourced = config(vec![with_methods(&methods)]);
    sourced.global.tunnel.source4 = Some("10.0.0.254/32".parse().unwrap());
    world.reload(sourced).unwrap();
    assert_eq!(world.line(), "b1=serving b2=serving");
}
