use super::{
    server::{Proven, Server},
    *,
};

/// MS-NLMP 4.2.1 and 4.2.4: the published example of version 2.
#[test]
fn published_example() {
    let key = crypto::owf_v2("Password", "User", "Domain");
    assert_eq!(
        key,
        [
            0x0c, 0x86, 0x8a, 0x40, 0x3b, 0xfd, 0x7a, 0x93, 0xa3, 0x00, 0x1e, 0xf2, 0x2e, 0xf0,
            0x2e, 0x3f
        ]
    );
    let (server, client) = ([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef], [0xaa; 8]);
    let mut info = Vec::new();
    for (kind, value) in [(2u16, "Domain"), (1, "Server")] {
        info.extend(kind.to_le_bytes());
        info.extend(12u16.to_le_bytes());
        info.extend(crypto::utf16(value));
    }
    info.extend([0; 4]);
    let proof = crypto::prove(&key, server, client, 0, &info);
    assert_eq!(
        proof.response[..16],
        [
            0x68, 0xcd, 0x0a, 0xb8, 0x51, 0xe5, 0x1c, 0x96, 0xaa, 0xbc, 0x92, 0x7b, 0xeb, 0xef,
            0x6a, 0x1c
        ]
    );
    assert_eq!(
        proof.session_key,
        [
            0x8d, 0xe4, 0x0c, 0xca, 0xdb, 0xc1, 0x4a, 0x82, 0xf1, 0x5c, 0xb0, 0xad, 0x0d, 0xe9,
            0x5c, 0xa3
        ]
    );
    let lm = crypto::lm_v2(&key, server, client);
    assert_eq!(
        lm[..16],
        [
            0x86, 0xc3, 0x50, 0x97, 0xac, 0x9c, 0xec, 0x10, 0x25, 0x54, 0x76, 0x4a, 0x57, 0xcc,
            0xcc, 0x19
        ]
    );
    assert_eq!(lm[16..], client);
}

fn fresh() -> Fresh {
    Fresh {
        client_challenge: [7; 8],
        now: OffsetDateTime::UNIX_EPOCH,
    }
}

fn answer(server: &Server, name: &str, binding: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let login = Login::new(name, "Password".into());
    let first = login.negotiate();
    let challenge = Challenge::parse(&server.challenge()).unwrap();
    let last = login.authenticate(
        &first,
        &challenge,
        binding,
        "HTTP/mail.uni.example",
        &fresh(),
    );
    (first, last)
}

#[test]
fn a_server_is_convinced_of_who_knows_the_password_on_this_connection() {
    let bound: &[u8] = b"tls-server-end-point:x";
    let server = |password, timestamp, binding| Server {
        nonce: [3; 8],
        password,
        timestamp,
        binding,
    };
    for timestamp in [None, Some(132_000_000_000_000_000)] {
        for binding in [None, Some(bound)] {
            let good = server("Password", timestamp, binding);
            for (name, user, domain) in [
                ("UNI\\sa-1", "sa-1", "UNI"),
                ("sa-1@uni.example", "sa-1@uni.example", ""),
            ] {
                let (first, last) = answer(&good, name, binding);
                let proven = Proven {
                    user: user.into(),
                    domain: domain.into(),
                };
                assert_eq!(good.verify(&first, &last), Ok(proven));
            }
            let (first, mut last) = answer(&good, "UNI\\sa-1", binding);
            let refused = |server: &Server, last: &[u8]| server.verify(&first, last).unwrap_err();
            assert_eq!(
                refused(&server("other", timestamp, binding), &last),
                "wrong password"
            );
            let elsewhere = if binding.is_some() { None } else { Some(bound) };
            assert_eq!(
                refused(&server("Password", timestamp, elsewhere), &last),
                "bound to another connection"
            );
            let flags = 60;
            last[flags] ^= 1;
            assert_eq!(refused(&good, &last), "changed on the way");
        }
    }
}

#[test]
fn what_is_no_challenge_is_not_taken_for_one() {
    let good = Server {
        nonce: [3; 8],
        password: "",
        timestamp: None,
        binding: None,
    }
    .challenge();
    assert!(Challenge::parse(&good).is_some());
    for cut in 0..good.len() {
        // The pairs may end early, where their end mark is cut off together with nothing else.
        let _ = Challenge::parse(&good[..cut]);
    }
    assert_eq!(Challenge::parse(b""), None);
    assert_eq!(Challenge::parse(b"NTLMSSP\0\x03\0\0\0"), None);
    assert_eq!(Challenge::parse(&good[..40]), None);
    let mut outside = good.clone();
    outside[44..48].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Challenge::parse(&outside), None);
}

#[test]
fn times() {
    assert_eq!(
        crypto::file_time(OffsetDateTime::UNIX_EPOCH),
        116_444_736_000_000_000
    );
}
