//! The words of nf_tables: a batch of commands as bytes. Knows how they are written, not what they are for.
//!
//! Numbers are in network order, unlike everywhere else in netlink. The names are those of `linux/netfilter/nf_tables.h`
//! without their prefix. Nothing here is read back from the kernel: only whether it took the batch.

use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};

/// `NFNL_SUBSYS_NFTABLES`.
const NFTABLES: u16 = 10;

/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`.
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// The address families of a message: `AF_UNSPEC` around a batch, `NFPROTO_INET` for tables of IPv4 and IPv6 alike.
const UNSPEC: u8 = 0;
const INET: u8 = 1;

/// The sizes of `struct nlmsghdr` and of `struct nlattr`.
const MESSAGE_HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;

/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// `NFTA_LIST_ELEM`: each entry of a list.
const LIST_ENTRY: u16 = 1;

/// `NFTA_DATA_VALUE` and `NFTA_DATA_VERDICT`.
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;

/// The register through which the expressions of a rule hand on a value, and the one for the verdict.
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;

/// Elements in one message, so that no attribute comes near the 64 KiB that it can have: some 40 bytes each.
const ELEMENTS: usize = 512;

/// What can be done with the things of a table: the kernel's message and its flags.
#[derive(Debug, Clone, Copy)]
struct Verb {
    kind: u16,
    flags: u16,
}

const NEW_TABLE: Verb = Verb { kind: 0, flags: NLM_F_CREATE | NLM_F_EXCL };
const DELETE_TABLE: Verb = Verb { kind: 2, flags: 0 };
const NEW_CHAIN: Verb = Verb { kind: 3, flags: NLM_F_CREATE | NLM_F_EXCL };
const NEW_RULE: Verb = Verb { kind: 6, flags: NLM_F_CREATE | NLM_F_APPEND };
const NEW_SET: Verb = Verb { kind: 9, flags: NLM_F_CREATE | NLM_F_EXCL };
const NEW_ELEMENTS: Verb = Verb { kind: 12, flags: NLM_F_CREATE };
const DELETE_ELEMENTS: Verb = Verb { kind: 14, flags: 0 };

/// Attributes one after the other, as they follow a header.
#[derive(Debug, Clone, Default)]
struct Attributes(Vec<u8>);

impl Attributes {
    /// A value beyond 64 KiB gets a length that is not its own, and the kernel refuses the message.
    fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    fn nested(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }
}

/// Commands that the kernel carries out all together or not at all.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    table: String,
    commands: Vec<(Verb, Attributes)>,
}

/// A hook of the kernel at which packets come by (`enum nf_inet_hooks`).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hook {
    /// Whatever arrives, from the loopback interface too, before it is routed.
    Prerouting = 0,
}

impl Batch {
    /// An empty one; all its commands are about this table of the family `inet`.
    pub(crate) fn about(table: String) -> Self {
        Self { table, commands: Vec::new() }
    }

    /// Adds the table, which must not exist. It belongs to the socket that the batch is sent on: nobody else can change it,
    /// and the kernel deletes it when that is closed.
    pub(crate) fn new_owned_table(self) -> Self {
        const FLAGS: u16 = 2;
        const OWNER: u32 = 2;
        self.command(NEW_TABLE, |table| table.number(FLAGS, OWNER))
    }

    /// Removes the table and all that is in it.
    pub(crate) fn delete_table(self) -> Self {
        self.command(DELETE_TABLE, |table| table)
    }

    /// Adds a set of addresses that each stay for a time of their own. `id` is one that no other set of this batch has.
    pub(crate) fn new_address_set(self, set: &str, key: Key, id: u32) -> Self {
        const NAME: u16 = 2;
        const FLAGS: u16 = 3;
        const KEY_TYPE: u16 = 4;
        const KEY_LENGTH: u16 = 5;
        const ID: u16 = 10;
        const TIMEOUT: u32 = 0x10;
        self.command(NEW_SET, |table| {
            let described = table.text(NAME, set).number(FLAGS, TIMEOUT).number(KEY_TYPE, key.type_for_nft());
            described.number(KEY_LENGTH, key.length()).number(ID, id)
        })
    }

    /// Adds addresses to a set, each with the time that it stays (ms resolution).
    pub(crate) fn add_to_set(self, set: &str, elements: &[(IpAddr, Duration)]) -> Self {
        const SET: u16 = 2;
        const ENTRIES: u16 = 3;
        elements.chunks(ELEMENTS).fold(self, |batch, chunk| {
            let entries = chunk.iter().fold(Attributes::default(), |list, (address, lifetime)| {
                list.nested(LIST_ENTRY, &element(*address, *lifetime))
            });
            batch.command(NEW_ELEMENTS, |table| table.text(SET, set).nested(ENTRIES, &entries))
        })
    }

    /// Empties a set.
    pub(crate) fn flush_set(self, set: &str) -> Self {
        const SET: u16 = 2;
        self.command(DELETE_ELEMENTS, |table| table.text(SET, set))
    }

    /// Adds a chain that packets pass at the hook, in the order of the priorities, and that lets pass what no rule stops.
    pub(crate) fn new_chain(self, chain: &str, hook: Hook, priority: i32) -> Self {
        const NAME: u16 = 3;
        const HOOK: u16 = 4;
        const TYPE: u16 = 7;
        const HOOK_NUMBER: u16 = 1;
        const HOOK_PRIORITY: u16 = 2;
        let place =
            Attributes::default().number(HOOK_NUMBER, hook as u32).bytes(HOOK_PRIORITY, &priority.to_be_bytes());
        self.command(NEW_CHAIN, |table| table.text(NAME, chain).nested(HOOK, &place).text(TYPE, "filter"))
    }

    /// Adds a rule at the end of a chain.
    pub(crate) fn new_rule(self, chain: &str, rule: &Rule) -> Self {
        const CHAIN: u16 = 2;
        const EXPRESSIONS: u16 = 4;
        self.command(NEW_RULE, |table| table.text(CHAIN, chain).nested(EXPRESSIONS, &rule.0))
    }

    fn command(mut self, verb: Verb, attributes: impl FnOnce(Attributes) -> Attributes) -> Self {
        // The first attribute of all these messages.
        const TABLE: u16 = 1;
        let attributes = attributes(Attributes::default().text(TABLE, &self.table));
        self.commands.push((verb, attributes));
        self
    }

    /// The batch as it goes to the kernel, which acknowledges the last command of it, or refuses one.
    pub(crate) fn written(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = self.draft(sequence);
        message(&mut bytes, BATCH_END, 0, sequence, (UNSPEC, NFTABLES), &[]);
        bytes
    }

    /// The same without its end: the kernel examines it, answers, and leaves all as it was.
    pub(crate) fn draft(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        message(&mut bytes, BATCH_BEGIN, 0, sequence, (UNSPEC, NFTABLES), &[]);
        for (i, (verb, attributes)) in self.commands.iter().enumerate() {
            let acknowledged = if i + 1 == self.commands.len() { NLM_F_ACK } else { 0 };
            message(
                &mut bytes,
                NFTABLES << 8 | verb.kind,
                verb.flags | acknowledged,
                sequence,
                (INET, 0),
                &attributes.0,
            );
        }
        bytes
    }
}

/// Appends `struct nlmsghdr`, `struct nfgenmsg` and what follows. `about` is the family and the resource of the latter.
fn message(bytes: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, about: (u8, u16), attributes: &[u8]) {
    const VERSION: u8 = 0;
    const ANY_PORT: u32 = 0;
    let (family, resource) = about;
    let length = u32::try_from(MESSAGE_HEADER + 4 + attributes.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(ANY_PORT.to_ne_bytes());
    bytes.extend([family, VERSION]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
}

fn element(address: IpAddr, lifetime: Duration) -> Attributes {
    const KEY: u16 = 1;
    const TIMEOUT: u16 = 4;
    let milliseconds = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
    let key = match address {
        IpAddr::V4(v4) => value(&v4.octets()),
        IpAddr::V6(v6) => value(&v6.octets()),
    };
    Attributes::default().nested(KEY, &key).bytes(TIMEOUT, &milliseconds.to_be_bytes())
}

fn value(bytes: &[u8]) -> Attributes {
    Attributes::default().bytes(DATA_VALUE, bytes)
}

/// What a set of addresses holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Ipv4,
    Ipv6,
}

impl Key {
    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// Bytes of an address.
    fn length(self) -> u32 {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 => 16,
        }
    }

    /// Where the destination is in the header, in bytes.
    fn destination(self) -> u32 {
        match self {
            Self::Ipv4 => 16,
            Self::Ipv6 => 24,
        }
    }

    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    fn protocol(self) -> u8 {
        match self {
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }

    /// The number by which `nft` knows how to show an element; the kernel does not look at it.
    fn type_for_nft(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
        }
    }
}

/// The conditions of a rule, all of which must hold, and what becomes of the packet then.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rule(Attributes);

impl Rule {
    /// TCP over this protocol, to an address of the set.
    pub(crate) fn tcp_to(key: Key, set: &str) -> Self {
        /// `NFT_META_NFPROTO`, `NFT_META_L4PROTO`, and the number of TCP.
        const NFPROTO: u32 = 15;
        const L4PROTO: u32 = 16;
        const TCP: u8 = 6;
        const NETWORK_HEADER: u32 = 1;
        const LOOKUP_SET: u16 = 1;
        const LOOKUP_SOURCE: u16 = 2;
        Self::default()
            .meta(NFPROTO)
            .equals(&[key.protocol()])
            .meta(L4PROTO)
            .equals(&[TCP])
            .payload(NETWORK_HEADER, key.destination(), key.length())
            .expression("lookup", &Attributes::default().text(LOOKUP_SET, set).number(LOOKUP_SOURCE, REGISTER))
    }

    /// Of the TCP flags in `mask` just those in `set` are on.
    pub(crate) fn with_flags(self, mask: u8, set: u8) -> Self {
        const TRANSPORT_HEADER: u32 = 2;
        const OFFSET: u32 = 13;
        const SOURCE: u16 = 1;
        const DESTINATION: u16 = 2;
        const LENGTH: u16 = 3;
        const MASK: u16 = 4;
        const XOR: u16 = 5;
        let and = Attributes::default()
            .number(SOURCE, REGISTER)
            .number(DESTINATION, REGISTER)
            .number(LENGTH, 1)
            .nested(MASK, &value(&[mask]))
            .nested(XOR, &value(&[0]));
        self.payload(TRANSPORT_HEADER, OFFSET, 1).expression("bitwise", &and).equals(&[set])
    }

    /// The packet is gone, and nobody is told.
    pub(crate) fn drop_it(self) -> Self {
        const DESTINATION: u16 = 1;
        const DATA: u16 = 2;
        const CODE: u16 = 1;
        const DROP: u32 = 0;
        let verdict = Attributes::default().nested(DATA_VERDICT, &Attributes::default().number(CODE, DROP));
        let immediate = Attributes::default().number(DESTINATION, VERDICT_REGISTER).nested(DATA, &verdict);
        self.expression("immediate", &immediate)
    }

    fn meta(self, key: u32) -> Self {
        const DESTINATION: u16 = 1;
        const KEY: u16 = 2;
        self.expression("meta", &Attributes::default().number(DESTINATION, REGISTER).number(KEY, key))
    }

    fn payload(self, base: u32, offset: u32, length: u32) -> Self {
        const DESTINATION: u16 = 1;
        const BASE: u16 = 2;
        const OFFSET: u16 = 3;
        const LENGTH: u16 = 4;
        let load = Attributes::default().number(DESTINATION, REGISTER).number(BASE, base);
        self.expression("payload", &load.number(OFFSET, offset).number(LENGTH, length))
    }

    fn equals(self, bytes: &[u8]) -> Self {
        const SOURCE: u16 = 1;
        const OPERATION: u16 = 2;
        const DATA: u16 = 3;
        const EQUAL: u32 = 0;
        let compare = Attributes::default().number(SOURCE, REGISTER).number(OPERATION, EQUAL);
        self.expression("cmp", &compare.nested(DATA, &value(bytes)))
    }

    fn expression(self, name: &str, data: &Attributes) -> Self {
        const NAME: u16 = 1;
        const DATA: u16 = 2;
        let expression = Attributes::default().text(NAME, name).nested(DATA, data);
        Self(self.0.nested(LIST_ENTRY, &expression))
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NlasIterator;

    use super::*;
    use crate::channel::Messages;

    #[test]
    fn a_batch_is_begun_and_ended_and_its_last_command_acknowledged() {
        let batch = Batch::about("t".into()).new_owned_table().delete_table();
        let bytes = batch.written(77);
        let messages: Vec<_> = Messages::new(&bytes).map(Result::unwrap).collect();
        let headers: Vec<_> = messages.iter().map(|m| (m.message_type(), m.flags() & NLM_F_ACK != 0)).collect();
        assert_eq!(headers, [(16, false), (0x0a00, false), (0x0a02, true), (17, false)]);
        assert!(messages.iter().all(|message| message.sequence_number() == 77));
        assert_eq!(messages[0].payload(), [0, 0, 0, 10]);
        assert_eq!(messages[1].payload(), [1, 0, 0, 0, 6, 0, 1, 0, b't', 0, 0, 0, 8, 0, 2, 0, 0, 0, 0, 2]);
        assert!(bytes.starts_with(&batch.draft(77)) && batch.draft(77).len() + 20 == bytes.len());
    }

    #[test]
    fn many_elements_are_spread_over_messages() {
        let address = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]);
        let elements = vec![(address, Duration::from_millis(1500)); ELEMENTS * 2 + 1];
        let bytes = Batch::about("t".into()).add_to_set("s", &elements).written(1);
        let lists: Vec<usize> = Messages::new(&bytes)
            .map(Result::unwrap)
            .filter(|message| message.message_type() == 0x0a0c)
            .map(|message| {
                let attributes: Vec<_> = NlasIterator::new(&message.payload()[4..]).map(Result::unwrap).collect();
                NlasIterator::new(attributes[2].value()).map(Result::unwrap).count()
            })
            .collect();
        assert_eq!(lists, [ELEMENTS, ELEMENTS, 1]);
    }

    #[test]
    fn a_value_that_is_too_long_is_no_panic() {
        let whole = Attributes::default().bytes(1, &[0; 70_000]);
        assert_eq!(whole.0[..2], u16::MAX.to_ne_bytes());
    }
}
