//! TLS: the files, and what has to stand together.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pgvrrp_config::Config;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::{FILE, RIGHT, refuse};

/// A directory with a CA's certificate, a client's, and what may be taken for them.
fn files() -> TempDir {
    make().expect("the files are made")
}

fn make() -> Result<TempDir, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let write = |name: &str, content: &str, mode: u32| {
        let path = dir.path().join(name);
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
    };
    let (key, other) = (KeyPair::generate()?, KeyPair::generate()?);
    let certificate = CertificateParams::new(vec!["db1".to_owned()])?.self_signed(&key)?.pem();
    write("ca.pem", &certificate, 0o644)?;
    write("client.pem", &certificate, 0o644)?;
    write("client.key", &key.serialize_pem(), 0o640)?;
    write("other.key", &other.serialize_pem(), 0o640)?;
    write("not.key", &certificate, 0o640)?;
    write("open.key", &key.serialize_pem(), 0o644)?;
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    write("encrypted.key", encrypted, 0o640)?;
    write("empty.pem", "", 0o644)?;
    write("damaged.pem", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", 0o644)?;
    write("cut.pem", &certificate[..certificate.len() / 2], 0o644)?;
    write("nonsense.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", 0o644)?;
    Ok(dir)
}

/// [`RIGHT`] with these lines in place of the endpoints.
fn etcd(lines: &str) -> String {
    RIGHT.replace("endpoints = [\"http://10.0.20.13:2379\"]", lines)
}

fn parse(dir: &Path, lines: &str) -> Result<Config, String> {
    Config::parse(Path::new(FILE), &etcd(lines), dir).map_err(|problems| problems.to_string())
}

const HTTPS: &str = "endpoints = [\"https://db3:2379\"]\n";

#[test]
fn what_is_right() {
    let dir = files();
    let lines = format!("{HTTPS}ca_file = \"ca.pem\"\ncert_file = \"client.pem\"\nkey_file = \"client.key\"");
    let config = parse(dir.path(), &lines).unwrap();
    let etcd = config.cluster.unwrap().etcd;
    assert_eq!(etcd.endpoints, ["https://db3:2379"]);
    let tls = etcd.tls.unwrap();
    assert_eq!(tls.ca_file.as_deref(), Some(dir.path().join("ca.pem").as_path()));
    let pem = tls.read().unwrap();
    assert!(pem.authorities.is_some() && pem.identity.is_some());
    assert!(!format!("{pem:?}").contains("PRIVATE"));
    let lines = format!("{HTTPS}ca_file = \"{}/ca.pem\"", dir.path().display());
    assert_eq!(parse(dir.path(), &lines).unwrap().cluster.unwrap().etcd.tls.unwrap().identity, None);
}

#[test]
fn files_that_cannot_be_used() {
    let dir = files();
    let base = dir.path().display();
    let der = "it has to be PEM text, with a line -----BEGIN CERTIFICATE-----; from DER: `openssl x509 -inform der`";
    for (line, message, help) in [
        ("ca_file = \"none.pem\"", "cannot be read: No such file", "must be a file that the user who runs pgvrrp may"),
        ("ca_file = \".\"", "is not a regular file", "put the authority's certificate into a file"),
        ("ca_file = \"empty.pem\"", "holds no certificate", der),
        ("ca_file = \"client.key\"", "holds no certificate", der),
        ("ca_file = \"damaged.pem\"", "is damaged", "put the authority's certificate into it anew"),
        ("ca_file = \"cut.pem\"", "is damaged", "put the authority's certificate into it anew"),
        ("ca_file = \"nonsense.pem\"", "holds no certificate that can be used", "put the authority's certificate"),
    ] {
        let name = line.split('"').nth(1).unwrap();
        let shown = parse(dir.path(), &format!("{HTTPS}{line}")).unwrap_err();
        assert!(shown.starts_with(&format!("error: ca_file {base}/{name} {message}")), "{shown}");
        assert!(shown.contains(&format!("--> {FILE}:7:11")) && shown.contains(help), "{shown}");
        assert!(shown.ends_with("\n1 error"), "{shown}");
    }
    for (cert, key, message, help) in [
        ("client.pem", "other.key", "is not the key of the certificate in", "made together"),
        ("client.pem", "open.key", "is open to every user", "chmod o= "),
        ("client.pem", "encrypted.key", "is encrypted", "openssl pkey"),
        ("client.pem", "not.key", "holds no private key", "PRIVATE KEY-----"),
        ("client.pem", "none.key", "cannot be read", "must be a file"),
        ("client.key", "client.key", "cert_file", der),
    ] {
        let lines = format!("{HTTPS}ca_file = \"ca.pem\"\ncert_file = \"{cert}\"\nkey_file = \"{key}\"");
        let shown = parse(dir.path(), &lines).unwrap_err();
        assert!(shown.contains(message) && shown.contains(help), "{cert} {key}: {shown}");
        assert!(shown.contains(&format!("--> {FILE}:9:12")) && shown.ends_with("\n1 error"), "{shown}");
        assert!(!shown.contains("BEGIN PRIVATE"), "{shown}");
    }
}

#[test]
fn what_has_to_stand_together() {
    let dir = files();
    let expect = |lines: &str, message: &str, help: &str| {
        let shown = parse(dir.path(), lines).unwrap_err();
        assert!(shown.starts_with(&format!("error: {message}\n")), "{shown}");
        assert!(shown.contains(&format!("= help: {help}")) && shown.ends_with("\n1 error"), "{shown}");
    };
    expect(HTTPS, "https:// without ca_file", "add ca_file = \"/etc/pgvrrp/etcd-ca.pem\", the authority that");
    expect(
        "endpoints = [\"http://db3:2379\"]\nca_file = \"ca.pem\"",
        "ca_file without an https:// endpoint",
        "write https:// in front of the endpoints, if etcd has TLS; otherwise remove ca_file",
    );
    expect(
        "endpoints = [\"https://db1:2379\", \"http://db3:2379\"]\nca_file = \"ca.pem\"",
        "some endpoints have TLS and others have not",
        "write https:// in front of all of them",
    );
    let lines = format!("{HTTPS}ca_file = \"ca.pem\"\n");
    expect(
        &format!("{lines}cert_file = \"client.pem\""),
        "cert_file without key_file",
        "add key_file, or remove cert_file",
    );
    expect(
        &format!("{lines}key_file = \"client.key\""),
        "key_file without cert_file",
        "add cert_file, or remove key_file",
    );
    expect(
        &format!("{lines}ca_file = \"\"").replace("ca_file = \"ca.pem\"\n", ""),
        "ca_file must not be empty",
        "write",
    );
}

/// [`RIGHT`] with these lines in `[postgres]`.
fn postgres(dir: &Path, lines: &str) -> Result<Config, String> {
    let text = RIGHT.replace("[postgres]\n", &format!("[postgres]\n{lines}\n"));
    Config::parse(Path::new(FILE), &text, dir).map_err(|problems| problems.to_string())
}

#[test]
fn what_postgresql_has_for_it() {
    let dir = files();
    let tcp = "connection = \"host=localhost user=pgvrrp\"";
    let mode = |lines: &str| postgres(dir.path(), lines).unwrap().cluster.unwrap().postgres.ssl_mode.as_str();
    assert_eq!(mode(tcp), "prefer");
    assert_eq!(mode("connection = \"host=localhost user=pgvrrp sslmode=require\""), "require");
    assert_eq!(mode("sslmode = \"disable\""), "disable");
    assert_eq!(mode(&format!("{tcp}\nsslmode = \"verify-ca\"\nca_file = \"ca.pem\"")), "verify-ca");
    let identity = "cert_file = \"client.pem\"\nkey_file = \"client.key\"";
    assert_eq!(mode(&format!("{tcp}\nsslmode = \"verify-full\"\nca_file = \"ca.pem\"\n{identity}")), "verify-full");
    let in_connection = "connection = \"host=localhost user=pgvrrp";
    for (lines, message, help) in [
        (format!("{tcp}\nsslmode = \"full\""), "sslmode must be \"disable\", \"prefer\"", "write sslmode = "),
        (format!("{tcp}\nsslmode = \"verify-full\""), "sslmode = \"verify-full\" without ca_file", "add ca_file = "),
        (format!("{tcp}\nca_file = \"ca.pem\""), "ca_file, and sslmode = \"prefer\" looks at no", "\"verify-full\""),
        (format!("{tcp}\nsslmode = \"disable\"\n{identity}"), "cert_file, and sslmode is \"disable\"", "remove"),
        ("sslmode = \"require\"".to_owned(), "sslmode = \"require\", and `connection` leads to a Unix", "localhost"),
        (
            "connection = \"host=/tmp user=u sslmode=require\"".to_owned(),
            "sslmode = \"require\", and `connection` leads to a Unix socket",
            "remove it",
        ),
        (identity.to_owned(), "cert_file, and `connection` leads to a Unix socket", "a Unix socket has no TLS"),
        (
            format!("{in_connection} sslmode=require\"\nsslmode = \"require\""),
            "sslmode stands in `connection` as well",
            "remove the one in `connection`",
        ),
        (
            format!("{in_connection} sslmode=verify-full\""),
            "connection is not understood: invalid value for option `sslmode`",
            "a key of its own below `connection`: sslmode = ",
        ),
        (
            format!("{in_connection} sslrootcert=/etc/ca.pem\""),
            "connection is not understood: unknown option `sslrootcert`",
            "keys of their own below `connection`: ca_file",
        ),
        (format!("{tcp}\nsslrootcert = \"ca.pem\""), "unknown key `sslrootcert` in [postgres]", "mean `ca_file`?"),
    ] {
        let shown = postgres(dir.path(), &lines).unwrap_err();
        assert!(shown.starts_with(&format!("error: {message}")), "{lines}: {shown}");
        assert!(shown.contains(help) && shown.ends_with("\n1 error"), "{lines}: {shown}");
    }
}

/// The words of Patroni's configuration.
#[test]
fn what_it_is_called_elsewhere() {
    for (theirs, ours) in [("cacert", "ca_file"), ("cafile", "ca_file"), ("cert", "cert_file"), ("key", "key_file")] {
        let shown = refuse(&etcd(&format!("endpoints = [\"http://db3:2379\"]\n{theirs} = \"/etc/x.pem\"")));
        let expected = format!("error: unknown key `{theirs}` in [etcd]\n");
        assert!(shown.starts_with(&expected), "{shown}");
        assert!(shown.contains(&format!("= help: did you mean `{ours}`?")) && shown.ends_with("\n1 error"), "{shown}");
    }
    let all = format!("{HTTPS}cacert = \"ca.pem\"\ncert = \"client.pem\"\nkey_file = \"client.key\"");
    let shown = refuse(&etcd(&all));
    assert!(shown.ends_with("2 errors"), "what is misnamed is not missed as well:\n{shown}");
}
