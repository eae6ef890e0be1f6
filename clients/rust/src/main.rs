//! Creates a client type, lists all client types, and prints the errors of an invalid one.
//!
//! `PORTAL_TARGET` is the host and port of the portal (default localhost:50051), `PORTAL_KEY` an API
//! key.

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use oauth::client_type_service_client::ClientTypeServiceClient;
use oauth::{
    ClientType, CreateClientTypeRequest, GrantType, ListClientTypesRequest, OktaAppType,
    ResponseType, TokenEndpointAuthMethod,
};

#[allow(clippy::large_enum_variant)] // of the generated code
mod oauth {
    tonic::include_proto!("portal.oauth.v1");
}

const PROVIDER: i32 = 1;
const DEADLINE: Duration = Duration::from_secs(5);

/// Adds the API key and a deadline to each call.
struct Caller {
    key: MetadataValue<Ascii>,
}

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.key.clone());
        request.set_timeout(DEADLINE);
        Ok(request)
    }
}

type Client = ClientTypeServiceClient<InterceptedService<Channel, Caller>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let target = env::var("PORTAL_TARGET").unwrap_or_else(|_| "localhost:50051".into());
    let key = env::var("PORTAL_KEY").context("PORTAL_KEY")?.parse()?;
    let channel = Endpoint::from_shared(format!("http://{target}"))?
        .connect_timeout(DEADLINE)
        .connect()
        .await?;
    let mut client = ClientTypeServiceClient::with_interceptor(channel, Caller { key });

    create(&mut client).await?;
    list(&mut client).await?;
    create_invalid(&mut client).await
}

async fn create(client: &mut Client) -> anyhow::Result<()> {
    let client_type = ClientType {
        name: "Server-side application".into(),
        description: "Use this client configuration to create server-side applications that \
                      don't act on behalf of end-users"
            .into(),
        response_types: vec![ResponseType::Code.into(), ResponseType::Token.into()],
        grant_types: vec![
            GrantType::AuthorizationCode.into(),
            GrantType::RefreshToken.into(),
            GrantType::Password.into(),
        ],
        token_endpoint_auth_method: TokenEndpointAuthMethod::ClientSecretBasic.into(),
        okta_app_type: OktaAppType::Web.into(),
        ..Default::default()
    };
    let created = client
        .create_client_type(CreateClientTypeRequest {
            provider_id: PROVIDER,
            client_type: Some(client_type),
            // The server does not repeat a request with the same id.
            request_id: Uuid::new_v4().into(),
            ..Default::default()
        })
        .await?
        .into_inner();
    println!("created {} {}", created.id, created.name);
    Ok(())
}

async fn list(client: &mut Client) -> anyhow::Result<()> {
    let mut request = ListClientTypesRequest {
        provider_id: PROVIDER,
        page_size: 2,
        ..Default::default()
    };
    loop {
        let page = client
            .list_client_types(request.clone())
            .await?
            .into_inner();
        for client_type in page.client_types {
            println!("listed {} {}", client_type.id, client_type.name);
        }
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        request.page_token = page.next_page_token;
    }
}

async fn create_invalid(client: &mut Client) -> anyhow::Result<()> {
    let request = CreateClientTypeRequest {
        provider_id: PROVIDER,
        client_type: Some(ClientType::default()),
        ..Default::default()
    };
    match client.create_client_type(request).await {
        Err(status) if status.code() == Code::InvalidArgument => {
            println!("rejected INVALID_ARGUMENT");
            let bad = status.get_details_bad_request();
            for violation in bad.iter().flat_map(|bad| &bad.field_violations) {
                println!("  {}: {}", violation.field, violation.description);
            }
            Ok(())
        }
        Err(status) => Err(status.into()),
        Ok(_) => bail!("a client type without a name was accepted"),
    }
}
