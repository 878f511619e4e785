//! The long tail, one line per provider: its name, the entries of its `token_file`, and how it is made of them.

use std::time::Duration;

use dns_update::providers::azuredns::{AzureDnsConfig, AzureEnvironment};
use dns_update::providers::bluecatv2::BluecatV2Config;
use dns_update::providers::edgedns::EdgeDnsConfig;
use dns_update::providers::google_cloud_dns::GoogleCloudDnsConfig;
use dns_update::providers::infoblox::InfobloxConfig;
use dns_update::providers::joker::JokerAuth;
use dns_update::providers::lightsail::LightsailConfig;
use dns_update::providers::oraclecloud::OracleCloudConfig;
use dns_update::providers::ovh::OvhEndpoint;
use dns_update::providers::route53::Route53Config;
use dns_update::providers::volcengine::VolcengineConfig;
use dns_update::providers::yandexcloud::YandexCloudConfig;
use dns_update::{DnsUpdater, Result};

/// How long one request of such a provider may take. Seconds.
const T: Option<Duration> = Some(Duration::from_secs(30));

/// One provider.
pub(super) struct Kind {
    /// As `dns = "…"` has it.
    pub(super) name: &'static str,
    /// Entries of the credentials, in the order that `make` takes them; `?` behind one that may be absent (and is then
    /// empty), `<` before one whose value is a file to read.
    pub(super) entries: &'static [&'static str],
    /// Makes the provider; takes exactly one text per entry.
    pub(super) make: fn(&[&str]) -> Result<DnsUpdater>,
}

/// The entry of providers that need one secret only: the file may then be that secret alone.
pub(super) const TOKEN: &[&str] = &["token"];

const fn kind(name: &'static str, entries: &'static [&'static str], make: fn(&[&str]) -> Result<DnsUpdater>) -> Kind {
    Kind { name, entries, make }
}

/// An entry that may be absent.
fn given(entry: &str) -> Option<&str> {
    (!entry.is_empty()).then_some(entry)
}

fn owned(entry: &str) -> Option<String> {
    given(entry).map(str::to_owned)
}

/// All of them, by name.
pub(super) const KINDS: &[Kind] = &[
    kind("alidns", &["access_key", "secret_key", "region?"], |e| {
        DnsUpdater::new_alidns(e[0], e[1], given(e[2]), None::<&str>, None::<&str>, T)
    }),
    kind("arvancloud", TOKEN, |e| DnsUpdater::new_arvancloud(e[0], T)),
    kind("autodns", &["username", "password", "context?"], |e| {
        DnsUpdater::new_autodns(e[0], e[1], e[2].parse().ok(), T)
    }),
    kind("azuredns", &["tenant_id", "client_id", "client_secret", "subscription_id", "resource_group"], |e| {
        DnsUpdater::new_azuredns(AzureDnsConfig {
            tenant_id: e[0].to_owned(),
            client_id: e[1].to_owned(),
            client_secret: e[2].to_owned(),
            subscription_id: e[3].to_owned(),
            resource_group: e[4].to_owned(),
            environment: AzureEnvironment::Public,
            request_timeout: T,
        })
    }),
    kind("baiducloud", &["access_key", "secret_key"], |e| DnsUpdater::new_baiducloud(e[0], e[1], T)),
    kind("bluecat", &["api", "username", "password", "config_name", "view_name"], |e| {
        DnsUpdater::new_bluecatv2(BluecatV2Config {
            server_url: e[0].to_owned(),
            username: e[1].to_owned(),
            password: e[2].to_owned(),
            config_name: e[3].to_owned(),
            view_name: e[4].to_owned(),
            skip_deploy: false,
            request_timeout: T,
        })
    }),
    kind("bunny", TOKEN, |e| DnsUpdater::new_bunny(e[0], T)),
    kind("cloudns", &["auth_id?", "sub_auth_id?", "auth_password"], |e| {
        DnsUpdater::new_cloudns(given(e[0]), given(e[1]), e[2], T)
    }),
    kind("constellix", &["api_key", "secret_key"], |e| DnsUpdater::new_constellix(e[0], e[1], T)),
    kind("cpanel", &["api", "username", "token"], |e| DnsUpdater::new_cpanel(e[0], e[1], e[2], T)),
    kind("ddnss", TOKEN, |e| DnsUpdater::new_ddnss(e[0], T)),
    kind("desec", TOKEN, |e| DnsUpdater::new_desec(e[0], T)),
    kind("digitalocean", TOKEN, |e| DnsUpdater::new_digitalocean(e[0], T)),
    kind("dnsimple", &["token", "account_id"], |e| DnsUpdater::new_dnsimple(e[0], e[1], T)),
    kind("dnsmadeeasy", &["api_key", "api_secret"], |e| DnsUpdater::new_dnsmadeeasy(e[0], e[1], T)),
    kind("domeneshop", &["api_token", "api_secret"], |e| DnsUpdater::new_domeneshop(e[0], e[1], T)),
    kind("dreamhost", TOKEN, |e| DnsUpdater::new_dreamhost(e[0], T)),
    kind("duckdns", TOKEN, |e| DnsUpdater::new_duckdns(e[0], T)),
    kind("dynu", TOKEN, |e| DnsUpdater::new_dynu(e[0], T)),
    kind("easydns", &["token", "key"], |e| DnsUpdater::new_easydns(e[0], e[1], T)),
    kind("edgedns", &["host", "client_token", "client_secret", "access_token"], |e| {
        DnsUpdater::new_edgedns(EdgeDnsConfig {
            host: e[0].to_owned(),
            client_token: e[1].to_owned(),
            client_secret: e[2].to_owned(),
            access_token: e[3].to_owned(),
            account_switch_key: None,
            request_timeout: T,
        })
    }),
    kind("exoscale", &["api_key", "api_secret"], |e| DnsUpdater::new_exoscale(e[0], e[1], T)),
    kind("freemyip", TOKEN, |e| DnsUpdater::new_freemyip(e[0], T)),
    kind("gandi", TOKEN, |e| DnsUpdater::new_gandiv5(e[0], T)),
    kind("gcore", TOKEN, |e| DnsUpdater::new_gcore(e[0], T)),
    kind("glesys", &["api_user", "api_key"], |e| DnsUpdater::new_glesys(e[0], e[1], T)),
    kind("godaddy", &["api_key", "api_secret"], |e| DnsUpdater::new_godaddy(e[0], e[1], T)),
    kind("google", &["project_id", "<service_account_file", "managed_zone?"], |e| {
        DnsUpdater::new_google_cloud_dns(GoogleCloudDnsConfig {
            service_account_json: e[1].to_owned(),
            project_id: e[0].to_owned(),
            managed_zone: owned(e[2]),
            private_zone: false,
            impersonate_service_account: None,
            request_timeout: T,
        })
    }),
    kind("hetzner", TOKEN, |e| DnsUpdater::new_hetzner(e[0], T)),
    kind("hostingde", TOKEN, |e| DnsUpdater::new_hostingde(e[0], T)),
    kind("hostinger", TOKEN, |e| DnsUpdater::new_hostinger(e[0], T)),
    kind("huaweicloud", &["access_key", "secret_key", "region"], |e| DnsUpdater::new_huaweicloud(e[0], e[1], e[2], T)),
    kind("hurricane", &["zone", "token"], |e| {
        DnsUpdater::new_hurricane([(e[0].to_owned(), e[1].to_owned())].into(), T)
    }),
    kind("ibmcloud", &["username", "api_key"], |e| DnsUpdater::new_ibmcloud(e[0], e[1], T)),
    kind("infoblox", &["host", "port?", "username", "password", "dns_view?"], |e| {
        DnsUpdater::new_infoblox(InfobloxConfig {
            host: e[0].to_owned(),
            port: owned(e[1]),
            username: e[2].to_owned(),
            password: e[3].to_owned(),
            wapi_version: None,
            dns_view: owned(e[4]),
            request_timeout: T,
        })
    }),
    kind("infomaniak", TOKEN, |e| DnsUpdater::new_infomaniak(e[0], T)),
    kind("inwx", &["username", "password"], |e| DnsUpdater::new_inwx(e[0], e[1], false, T)),
    kind("ionos", TOKEN, |e| DnsUpdater::new_ionos(e[0], T)),
    kind("ipv64", TOKEN, |e| DnsUpdater::new_ipv64(e[0], T)),
    kind("joker", TOKEN, |e| DnsUpdater::new_joker(JokerAuth::api_key(e[0]), T)),
    kind("lightsail", &["access_key_id", "secret_access_key", "region?"], |e| {
        DnsUpdater::new_lightsail(LightsailConfig {
            access_key_id: e[0].to_owned(),
            secret_access_key: e[1].to_owned(),
            session_token: None,
            region: owned(e[2]),
            domain: None,
            request_timeout: T,
        })
    }),
    kind("linode", TOKEN, |e| DnsUpdater::new_linode(e[0], T)),
    kind("luadns", &["username", "token"], |e| DnsUpdater::new_luadns(e[0], e[1], T)),
    kind("mythicbeasts", &["username", "password"], |e| DnsUpdater::new_mythicbeasts(e[0], e[1], T)),
    kind("namecheap", &["api_user", "api_key", "client_ip"], |e| {
        DnsUpdater::new_namecheap(e[0], e[1], e[2], None::<&str>, T)
    }),
    kind("namedotcom", &["username", "token"], |e| DnsUpdater::new_namedotcom(e[0], e[1], T)),
    kind("namesilo", TOKEN, |e| DnsUpdater::new_namesilo(e[0], T)),
    kind("netcup", &["customer_number", "api_key", "api_password"], |e| DnsUpdater::new_netcup(e[0], e[1], e[2], T)),
    kind("netlify", TOKEN, |e| DnsUpdater::new_netlify(e[0], T)),
    kind("nifcloud", &["access_key", "secret_key"], |e| DnsUpdater::new_nifcloud(e[0], e[1], T)),
    kind("ns1", TOKEN, |e| DnsUpdater::new_ns1(e[0], T)),
    kind("oraclecloud", &["tenancy", "user", "fingerprint", "<key_file", "region", "compartment"], |e| {
        DnsUpdater::new_oraclecloud(OracleCloudConfig {
            tenancy_ocid: e[0].to_owned(),
            user_ocid: e[1].to_owned(),
            fingerprint: e[2].to_owned(),
            private_key_pem: e[3].to_owned(),
            private_key_password: None,
            region: e[4].to_owned(),
            compartment_ocid: e[5].to_owned(),
            request_timeout: T,
        })
    }),
    kind("ovh", &["application_key", "application_secret", "consumer_key", "endpoint?"], |e| {
        let endpoint = given(e[3]).unwrap_or("ovh-eu").parse::<OvhEndpoint>();
        let endpoint = endpoint.map_err(|fault| dns_update::Error::Parse(fault.to_string()))?;
        DnsUpdater::new_ovh(e[0], e[1], e[2], endpoint, T)
    }),
    kind("plesk", &["api", "token"], |e| DnsUpdater::new_plesk(e[0], e[1], T)),
    kind("porkbun", &["api_key", "secret_api_key"], |e| DnsUpdater::new_porkbun(e[0], e[1], T)),
    kind("powerdns", &["api", "token", "server?"], |e| DnsUpdater::new_pdns(e[1], Some(e[0]), given(e[2]), T)),
    kind("route53", &["access_key_id", "secret_access_key", "region?", "hosted_zone_id?"], |e| {
        DnsUpdater::new_route53(Route53Config {
            access_key_id: e[0].to_owned(),
            secret_access_key: e[1].to_owned(),
            session_token: None,
            region: owned(e[2]),
            hosted_zone_id: owned(e[3]),
            private_zone_only: None,
            endpoint: None,
        })
    }),
    kind("safedns", TOKEN, |e| DnsUpdater::new_safedns(e[0], T)),
    kind("scaleway", TOKEN, |e| DnsUpdater::new_scaleway(e[0], T)),
    kind("selectel", &["username", "password", "account_id", "project_id"], |e| {
        DnsUpdater::new_selectel(e[0], e[1], e[2], e[3], T)
    }),
    kind("simply", &["account_name", "api_key"], |e| DnsUpdater::new_simplycom(e[0], e[1], T)),
    kind("spaceship", &["api_key", "api_secret"], |e| DnsUpdater::new_spaceship(e[0], e[1], T)),
    kind("tencentcloud", &["secret_id", "secret_key", "region?"], |e| {
        DnsUpdater::new_tencentcloud(e[0], e[1], given(e[2]), None::<&str>, T)
    }),
    kind("transip", &["login", "<key_file"], |e| DnsUpdater::new_transip(e[0], e[1], true, T)),
    kind("ultradns", &["username", "password", "api?"], |e| DnsUpdater::new_ultradns(e[0], e[1], owned(e[2]), T)),
    kind("vercel", &["token", "team_id?"], |e| DnsUpdater::new_vercel(e[0], given(e[1]), T)),
    kind("volcengine", &["access_key", "secret_key", "region?"], |e| {
        DnsUpdater::new_volcengine(VolcengineConfig {
            access_key: e[0].to_owned(),
            secret_key: e[1].to_owned(),
            region: owned(e[2]),
            host: None,
            scheme: None,
            request_timeout: T,
        })
    }),
    kind("vultr", TOKEN, |e| DnsUpdater::new_vultr(e[0], T)),
    kind("websupport", &["api_key", "secret"], |e| DnsUpdater::new_websupport(e[0], e[1], T)),
    kind("yandexcloud", &["iam_token", "folder_id"], |e| {
        DnsUpdater::new_yandexcloud(YandexCloudConfig {
            iam_token_b64: e[0].to_owned(),
            folder_id: e[1].to_owned(),
            request_timeout: T,
        })
    }),
    kind("zoneeu", &["username", "api_key"], |e| DnsUpdater::new_zoneeu(e[0], e[1], T)),
];
