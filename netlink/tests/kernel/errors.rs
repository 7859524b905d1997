//! Errors that tell the reader what to do.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use pgvrrp_netlink::{Error, Kernel, SockDiag, promote_secondaries};

use crate::namespace::{bound, in_namespace, ip, link, sysctl, wait_until};

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 20, 155));
const LIFETIME: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// Gives up root on this thread alone: the function of the C library would change all threads of the process.
#[allow(unsafe_code, reason = "no safe wrapper changes the user of one thread only")]
pub(crate) fn become_nobody() {
    // SAFETY: setresuid takes three numbers and no pointers.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
    assert_eq!(result, 0, "setresuid: {}", std::io::Error::last_os_error());
}

#[test]
fn without_the_capability_it_says_which_one() {
    in_namespace(|| {
        ip("address add 10.0.20.155/24 dev eth0");
        ip("address add 10.0.20.11/24 dev eth0");
        let a = link(&mut Kernel::open().unwrap(), "eth0").index;
        become_nobody();
        let mut kernel = Kernel::open().unwrap();
        assert_eq!(kernel.addresses().unwrap().iter().filter(|row| row.link == a && row.address.is_ipv4()).count(), 2);
        let error = kernel.bind(a, VIP, 32, LIFETIME).unwrap_err();
        assert!(matches!(error, Error::NotPermitted { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("bind 10.0.20.155/32") && text.contains("CAP_NET_ADMIN"), "{text}");
        let error = kernel.unbind(VIP, None).unwrap_err();
        assert!(matches!(error, Error::NotPermitted { .. }), "{error:?}");
        assert_eq!(bound("eth0"), ["10.0.20.155/24", "10.0.20.11/24"]);
        assert_eq!(SockDiag::open().unwrap().established(Ipv4Addr::LOCALHOST, Duration::from_secs(1)).unwrap(), 0);
    });
}

#[test]
fn an_interface_that_is_not_there_is_said_to_be_so() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        for address in [VIP, "fd00::155".parse().unwrap()] {
            let error = kernel.bind(4711, address, 32, LIFETIME).unwrap_err();
            assert!(matches!(error, Error::NoSuchInterface { .. }), "{error:?}");
            assert!(error.to_string().contains("interface 4711"), "{error}");
        }
        // The same socket goes on to work.
        let a = link(&mut kernel, "eth0").index;
        kernel.bind(a, VIP, 32, LIFETIME).unwrap();
        ip("link del eth0");
        assert!(matches!(kernel.bind(a, VIP, 32, LIFETIME), Err(Error::NoSuchInterface { .. })));
        assert_eq!(kernel.unbind(VIP, None).unwrap(), 0, "it went with its interface");
    });
}

#[test]
fn ipv6_that_is_switched_off_is_not_taken_for_missing_rights() {
    in_namespace(|| {
        std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
        let mut kernel = Kernel::open().unwrap();
        let a = link(&mut kernel, "eth0").index;
        let error = kernel.bind(a, "fd00::155".parse().unwrap(), 128, LIFETIME).unwrap_err();
        assert!(matches!(error, Error::Ipv6Disabled { .. }), "{error:?}");
    });
}

#[test]
fn the_kernels_own_words_are_passed_on() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let a = link(&mut kernel, "eth0").index;
        let error = kernel.bind(a, VIP, 33, LIFETIME).unwrap_err();
        let Error::Kernel { source, explanation, .. } = &error else { panic!("{error:?}") };
        assert_eq!(source.raw_os_error(), Some(libc::EINVAL));
        assert!(explanation.as_deref().is_some_and(|text| !text.is_empty()), "{error}");
        assert!(error.to_string().contains(explanation.as_deref().unwrap()), "{error}");
    });
}

#[test]
fn promote_secondaries_is_the_or_of_all_and_the_interface() {
    in_namespace(|| {
        for (all, a, expected) in [("0", "0", false), ("1", "0", true), ("0", "1", true), ("1", "1", true)] {
            sysctl("all/promote_secondaries", all);
            sysctl("eth0/promote_secondaries", a);
            assert_eq!(promote_secondaries("eth0").unwrap(), expected, "all={all} a={a}");
        }
        assert_eq!(promote_secondaries("nowhere").unwrap_err().kind(), std::io::ErrorKind::NotFound);
        for name in ["", "..", ".", "../all", "a/b"] {
            assert_eq!(promote_secondaries(name).unwrap_err().kind(), std::io::ErrorKind::InvalidInput, "{name:?}");
        }
    });
}

#[test]
fn an_address_that_somebody_keeps_adding_is_an_error() {
    in_namespace(|| {
        let mut kernel = Kernel::open().unwrap();
        let eth0 = link(&mut kernel, "eth0").index;
        let enough = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&enough);
        let rival = std::thread::spawn(move || {
            let mut kernel = Kernel::open().unwrap();
            while !stop.load(Relaxed) {
                kernel.bind(eth0, VIP, 32, LIFETIME).unwrap();
            }
        });
        let mut last = None;
        wait_until(Duration::from_secs(20), "it lost the race three times in a row", || {
            last = kernel.unbind(VIP, None).err();
            matches!(last, Some(Error::StillBound { .. }))
        });
        enough.store(true, Relaxed);
        rival.join().unwrap();
        let text = last.unwrap().to_string();
        assert!(text.contains("10.0.20.155") && text.contains("somebody else"), "{text}");
        kernel.unbind(VIP, None).unwrap();
        assert_eq!(bound("eth0"), [""; 0]);
    });
}
