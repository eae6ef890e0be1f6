/**
 * Creates a client type, lists all client types, and prints the errors of an invalid one.
 *
 * `PORTAL_TARGET` is the host and port of the portal (default localhost:50051), `PORTAL_KEY` an API
 * key.
 */
package com.example.portal

import com.google.rpc.BadRequest
import io.grpc.CallCredentials
import io.grpc.Grpc
import io.grpc.InsecureChannelCredentials
import io.grpc.Metadata
import io.grpc.Status
import io.grpc.StatusException
import io.grpc.protobuf.StatusProto
import java.util.UUID
import java.util.concurrent.Executor
import java.util.concurrent.TimeUnit.SECONDS
import kotlin.system.exitProcess
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.runBlocking
import portal.oauth.v1.ClientType
import portal.oauth.v1.ClientTypeServiceGrpcKt.ClientTypeServiceCoroutineStub
import portal.oauth.v1.CreateClientTypeRequest
import portal.oauth.v1.GrantType
import portal.oauth.v1.OktaAppType
import portal.oauth.v1.ResponseType
import portal.oauth.v1.TokenEndpointAuthMethod
import portal.oauth.v1.clientType
import portal.oauth.v1.createClientTypeRequest
import portal.oauth.v1.listClientTypesRequest

private const val PROVIDER = 1
private const val DEADLINE_SECONDS = 5L

/** Exits with 1 and one line on standard error if a call fails. */
fun main() {
  val target = System.getenv("PORTAL_TARGET") ?: "localhost:50051"
  val channel = Grpc.newChannelBuilder(target, InsecureChannelCredentials.create()).build()
  val stub =
    ClientTypeServiceCoroutineStub(channel)
      .withCallCredentials(Key(System.getenv("PORTAL_KEY") ?: ""))
  try {
    runBlocking {
      Example(stub).run {
        create()
        list().collect { println("listed ${it.id} ${it.name}") }
        createInvalid()
      }
    }
  } catch (error: StatusException) {
    System.err.println(error.message?.replace('\n', ' '))
    exitProcess(1)
  } finally {
    channel.shutdown().awaitTermination(DEADLINE_SECONDS, SECONDS)
  }
}

private class Example(private val stub: ClientTypeServiceCoroutineStub) {
  suspend fun create() {
    val created =
      withDeadline()
        .createClientType(
          request(
            clientType {
              name = "Server-side application"
              description =
                "Use this client configuration to create server-side applications that don't act" +
                  " on behalf of end-users"
              responseTypes += ResponseType.RESPONSE_TYPE_CODE
              responseTypes += ResponseType.RESPONSE_TYPE_TOKEN
              grantTypes += GrantType.GRANT_TYPE_AUTHORIZATION_CODE
              grantTypes += GrantType.GRANT_TYPE_REFRESH_TOKEN
              grantTypes += GrantType.GRANT_TYPE_PASSWORD
              tokenEndpointAuthMethod =
                TokenEndpointAuthMethod.TOKEN_ENDPOINT_AUTH_METHOD_CLIENT_SECRET_BASIC
              oktaAppType = OktaAppType.OKTA_APP_TYPE_WEB
            }
          )
        )
    println("created ${created.id} ${created.name}")
  }

  /** All client types, page by page. */
  fun list(): Flow<ClientType> = flow {
    var token = ""
    do {
      val page =
        withDeadline()
          .listClientTypes(
            listClientTypesRequest {
              providerId = PROVIDER
              pageSize = 2
              pageToken = token
            }
          )
      page.clientTypesList.forEach { emit(it) }
      token = page.nextPageToken
    } while (token.isNotEmpty())
  }

  suspend fun createInvalid() {
    try {
      withDeadline().createClientType(request(clientType {}))
    } catch (error: StatusException) {
      if (error.status.code != Status.Code.INVALID_ARGUMENT) throw error
      println("rejected ${error.status.code}")
      violations(error).forEach { println("  ${it.field}: ${it.description}") }
      return
    }
    error("a client type without a name was accepted")
  }

  private fun withDeadline() = stub.withDeadlineAfter(DEADLINE_SECONDS, SECONDS)

  private fun request(given: ClientType): CreateClientTypeRequest = createClientTypeRequest {
    providerId = PROVIDER
    clientType = given
    // The server does not repeat a request with the same id.
    requestId = UUID.randomUUID().toString()
  }

  /** The invalid fields, from the details of the status. */
  private fun violations(error: StatusException): List<BadRequest.FieldViolation> =
    StatusProto.fromThrowable(error)
      ?.detailsList
      ?.firstOrNull { it.`is`(BadRequest::class.java) }
      ?.unpack(BadRequest::class.java)
      ?.fieldViolationsList
      .orEmpty()
}

/** Sends the API key with each call. */
private class Key(key: String) : CallCredentials() {
  private val metadata =
    Metadata().apply {
      put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), key)
    }

  override fun applyRequestMetadata(
    call: RequestInfo,
    executor: Executor,
    applier: MetadataApplier,
  ) = applier.apply(metadata)
}
