//! A certificate authority for one campaign: the server under load trusts it, and both
//! its domain and the far ones have certificates of it (RFC 6120 section 13.7).

use crate::Res;
use crate::client::err;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

/// A chain and its key.
pub(crate) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn write(dir: &Path, name: &str, text: &str) -> Res<()> {
    std::fs::write(dir.join(name), text).map_err(|e| format!("{name}: {e}"))
}

/// Write `ca.pem`; `cert.pem`, `key.pem` and `both.pem` of `home`; `far.pem` and
/// `far-key.pem` of all far domains.
pub(crate) fn make(dir: &Path, home: &str, far: &[String]) -> Res<()> {
    std::fs::create_dir_all(dir).map_err(err)?;
    let mut ca = CertificateParams::new(Vec::new()).map_err(err)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.not_after = rcgen::date_time_ymd(2040, 1, 1);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name.push(DnType::CommonName, "Authority of a benchmark");
    let ca_key = KeyPair::generate().map_err(err)?;
    write(dir, "ca.pem", &ca.self_signed(&ca_key).map_err(err)?.pem())?;
    let ca = Issuer::new(ca, ca_key);
    let leaf = |names: Vec<String>| -> Res<(String, String)> {
        let mut p = CertificateParams::new(names).map_err(err)?;
        p.distinguished_name.push(DnType::CommonName, "Server of a benchmark");
        // ejabberd's timers do not reach as far as rcgen's default.
        p.not_after = rcgen::date_time_ymd(2040, 1, 1);
        p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        p.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(err)?;
        Ok((p.signed_by(&key, &ca).map_err(err)?.pem(), key.serialize_pem()))
    };
    let (cert, key) = leaf(vec![home.to_string()])?;
    write(dir, "cert.pem", &cert)?;
    write(dir, "key.pem", &key)?;
    write(dir, "both.pem", &(cert + &key))?;
    let (cert, key) = leaf(far.to_vec())?;
    write(dir, "far.pem", &cert)?;
    write(dir, "far-key.pem", &key)
}

/// The certificate of the far domains.
pub(crate) fn load(dir: &Path) -> Res<Identity> {
    let at = |name: &str| dir.join(name);
    let say = |e| format!("the far domains' certificate in {}: {e}", dir.display());
    let chain =
        CertificateDer::pem_file_iter(at("far.pem")).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(say)?;
    Ok((chain, PrivateKeyDer::from_pem_file(at("far-key.pem")).map_err(say)?))
}
