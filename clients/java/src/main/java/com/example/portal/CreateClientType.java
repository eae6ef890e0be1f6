package com.example.portal;

import com.google.rpc.BadRequest;
import io.grpc.CallCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import portal.oauth.v1.ClientType;
import portal.oauth.v1.CreateClientTypeRequest;
import portal.oauth.v1.GrantType;
import portal.oauth.v1.ListClientTypesRequest;
import portal.oauth.v1.ListClientTypesResponse;
import portal.oauth.v1.OktaAppType;
import portal.oauth.v1.ResponseType;
import portal.oauth.v1.TokenEndpointAuthMethod;
import portal.oauth.v1.ClientTypeServiceGrpc;
import portal.oauth.v1.ClientTypeServiceGrpc.ClientTypeServiceBlockingStub;

/**
 * Creates a client type, lists all client types, and prints the errors of an invalid one.
 *
 * <p>{@code PORTAL_TARGET} is the host and port of the portal (default localhost:50051), {@code
 * PORTAL_KEY} an API key.
 */
public final class CreateClientType {
  private static final int PROVIDER = 1;
  private static final long DEADLINE_SECONDS = 5;

  private final ClientTypeServiceBlockingStub stub;

  private CreateClientType(ClientTypeServiceBlockingStub stub) {
    this.stub = stub;
  }

  /** Exits with 1 and one line on standard error if a call fails. */
  public static void main(String[] arguments) throws InterruptedException {
    var target = Optional.ofNullable(System.getenv("PORTAL_TARGET")).orElse("localhost:50051");
    var key = Optional.ofNullable(System.getenv("PORTAL_KEY")).orElse("");
    var channel = Grpc.newChannelBuilder(target, InsecureChannelCredentials.create()).build();
    var stub = ClientTypeServiceGrpc.newBlockingStub(channel).withCallCredentials(new Key(key));
    try {
      var example = new CreateClientType(stub);
      example.create();
      example.list();
      example.createInvalid();
    } catch (StatusRuntimeException error) {
      System.err.println(error.getMessage().replace('\n', ' '));
      System.exit(1);
    } finally {
      close(channel);
    }
  }

  private void create() {
    var clientType =
        ClientType.newBuilder()
            .setName("Server-side application")
            .setDescription(
                "Use this client configuration to create server-side applications that don't act"
                    + " on behalf of end-users")
            .addResponseTypes(ResponseType.RESPONSE_TYPE_CODE)
            .addResponseTypes(ResponseType.RESPONSE_TYPE_TOKEN)
            .addGrantTypes(GrantType.GRANT_TYPE_AUTHORIZATION_CODE)
            .addGrantTypes(GrantType.GRANT_TYPE_REFRESH_TOKEN)
            .addGrantTypes(GrantType.GRANT_TYPE_PASSWORD)
            .setTokenEndpointAuthMethod(
                TokenEndpointAuthMethod.TOKEN_ENDPOINT_AUTH_METHOD_CLIENT_SECRET_BASIC)
            .setOktaAppType(OktaAppType.OKTA_APP_TYPE_WEB)
            .build();
    var created = withDeadline().createClientType(request(clientType));
    System.out.printf("created %d %s%n", created.getId(), created.getName());
  }

  private void list() {
    var request = ListClientTypesRequest.newBuilder().setProviderId(PROVIDER).setPageSize(2);
    ListClientTypesResponse page;
    do {
      page = withDeadline().listClientTypes(request.build());
      for (var clientType : page.getClientTypesList()) {
        System.out.printf("listed %d %s%n", clientType.getId(), clientType.getName());
      }
      request.setPageToken(page.getNextPageToken());
    } while (!page.getNextPageToken().isEmpty());
  }

  private void createInvalid() {
    try {
      withDeadline().createClientType(request(ClientType.getDefaultInstance()));
      throw new IllegalStateException("a client type without a name was accepted");
    } catch (StatusRuntimeException error) {
      if (error.getStatus().getCode() != Status.Code.INVALID_ARGUMENT) {
        throw error;
      }
      System.out.printf("rejected %s%n", error.getStatus().getCode());
      for (var violation : violations(error)) {
        System.out.printf("  %s: %s%n", violation.getField(), violation.getDescription());
      }
    }
  }

  private static CreateClientTypeRequest request(ClientType clientType) {
    return CreateClientTypeRequest.newBuilder()
        .setProviderId(PROVIDER)
        .setClientType(clientType)
        // The server does not repeat a request with the same id.
        .setRequestId(UUID.randomUUID().toString())
        .build();
  }

  /** The invalid fields, from the details of the status. */
  private static List<BadRequest.FieldViolation> violations(StatusRuntimeException error) {
    try {
      for (var detail : StatusProto.fromThrowable(error).getDetailsList()) {
        if (detail.is(BadRequest.class)) {
          return detail.unpack(BadRequest.class).getFieldViolationsList();
        }
      }
      return List.of();
    } catch (IOException broken) {
      throw new IllegalStateException(broken);
    }
  }

  private ClientTypeServiceBlockingStub withDeadline() {
    return stub.withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS);
  }

  private static void close(ManagedChannel channel) throws InterruptedException {
    channel.shutdown().awaitTermination(DEADLINE_SECONDS, TimeUnit.SECONDS);
  }

  /** Sends the API key with each call. */
  private static final class Key extends CallCredentials {
    private static final Metadata.Key<String> AUTHORIZATION =
        Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    private final Metadata metadata = new Metadata();

    Key(String key) {
      metadata.put(AUTHORIZATION, key);
    }

    @Override
    public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
      applier.apply(metadata);
    }
  }
}
