//! NetworkManager. It leaves addresses alone that others add to a connection that is up, and removes them when the connection
//! is brought up anew, or changed while it is up.

use super::super::areas::MANAGERS as AREA;
use super::super::peer::Segment;
use super::super::report::Finding;
use super::ini::assignments;
use super::tree::Tree;

pub(super) fn judge(tree: &Tree, segment: &Segment) -> Option<Finding> {
    let state = tree.read(&format!("/run/NetworkManager/devices/{}", segment.index))?;
    let managed = assignments(&state).any(|a| (a.section, a.key, a.value) == ("device", "managed", "true"));
    managed.then(|| {
        let name = &segment.name;
        let text = format!(
            "{name}: NetworkManager manages it: it leaves the VIP alone, but for a moment when the connection is brought up anew or \
             reapplied"
        );
        Finding::note(AREA, text)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{segment, tree};
    use super::*;

    #[test]
    fn by_its_own_record() {
        let found = |files: &[(&str, &str)]| judge(&Tree::new(tree(files).path()), &segment()).is_some();
        let of = |text| [("run/NetworkManager/devices/2", text)];
        assert!(found(&of("[device]\nmanaged=true\nconnection-uuid=x\n")));
        for text in ["[device]\nmanaged=false\n", "managed=true\n", "[device]\nmanaged=unknown\n", "\0[["] {
            assert!(!found(&of(text)), "{text:?}");
        }
        assert!(!found(&[]));
    }
}
