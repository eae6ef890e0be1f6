-- What gRPC reserves among the headers of a call: rejected here when it is not
-- well formed, because servers see it on connections that all callers share. See
-- https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Requests".
-- The patterns have no two repetitions that could match the same characters, so
-- each is linear; Envoy bounds what they read to 60 KiB.

local ENCODINGS = {identity = true, deflate = true, gzip = true}
local ACCEPTED = "identity,deflate,gzip"
local LONGEST = 10  -- seconds that a server works on a call; a route may have more
local SECONDS = {H = 3600, M = 60, S = 1, m = 1e-3, u = 1e-6, n = 1e-9}

local INVALID_ARGUMENT, UNIMPLEMENTED = "3", "12"

local TOKEN = "[%w!#$%%&'*+.^_`|~-]+"  -- RFC 9110, section 5.6.2

local function is(pattern)
  local whole = "^" .. pattern .. "$"
  return function(value) return value:find(whole) ~= nil end
end

local function is_timeout(value)
  return #value <= 9 and value:find("^%d+[HMSmun]$") ~= nil
end

local function is_list_of_tokens(value)
  for part in (value .. ","):gmatch("([^,]*),") do
    if not part:find("^[ \t]*" .. TOKEN .. "[ \t]*$") then return false end
  end
  return true
end

-- Base64 of RFC 4648, section 4, with padding or without; unused bits are 0. gRPC
-- allows several values with commas between, but its C core reads one a header.
local function is_base64(value)
  local digits, padding = value:match("^([%w+/]*)(=?=?)$")
  if not digits then return false end
  local rest = #digits % 4
  if rest == 1 or (padding ~= "" and rest + #padding ~= 4) then return false end
  if rest == 2 and not digits:find("[AQgw]$") then return false end
  return rest ~= 3 or digits:find("[AEIMQUYcgkosw048]$") ~= nil
end

-- What a call may carry. Any other grpc-* belongs in a response or to nobody.
local RESERVED = {
  ["grpc-timeout"] = {is_timeout, "must be 1 to 8 digits and a unit: H, M, S, m, u or n"},
  ["grpc-encoding"] = {is(TOKEN), "must be one of " .. ACCEPTED},
  ["grpc-accept-encoding"] = {is_list_of_tokens, "must be encodings separated by commas"},
  ["grpc-message-type"] = {is(TOKEN), "must be the name of a message"},
  ["grpc-previous-rpc-attempts"] = {is("%d%d?%d?"), "must be 1 to 3 digits"},
  ["te"] = {is("trailers"), "must be trailers"},
}
local BINARY = {is_base64, "must be one value in base64"}
local UNKNOWN = {function() return false end, "must not be in a request"}
RESERVED["lb-cost-bin"] = UNKNOWN  -- of gRPC's load balancers
local KNOWN_BINARY = {["grpc-trace-bin"] = true, ["grpc-tags-bin"] = true}

local function rule_of(name)
  local rule = RESERVED[name]
  if rule then return rule end
  local reserved = name:sub(1, 5) == "grpc-"
  if name:sub(-4) == "-bin" then
    return reserved and not KNOWN_BINARY[name] and UNKNOWN or BINARY
  end
  return reserved and UNKNOWN or nil
end

-- Ends the call with a status of gRPC. 200 and these headers are what gRPC-Web
-- needs, too.
local function fail(handle, code, text, more)
  local headers = more or {}
  headers[":status"], headers["content-type"] = "200", "application/grpc"
  headers["grpc-status"], headers["grpc-message"] = code, text
  handle:respond(headers, "")
end

function envoy_on_request(handle)
  local headers = handle:headers()
  -- gRPC-Web is gRPC by now. The rest is REST, or nobody's.
  if (headers:get("content-type") or ""):sub(1, 16) ~= "application/grpc" then return end
  if headers:get(":method") ~= "POST" then
    return fail(handle, INVALID_ARGUMENT, ":method: must be POST")
  elseif not headers:get("te") then
    return fail(handle, INVALID_ARGUMENT, "te: must be trailers")
  end
  for name, value in pairs(headers) do
    if name:find("[^0-9a-z_.-]", 2) then
      return fail(handle, INVALID_ARGUMENT, "a header's name has characters besides 0-9 a-z _ . -")
    end
    if value:find("[^ -~]") then
      return fail(handle, INVALID_ARGUMENT, name:sub(1, 64) .. ": must be printable ASCII")
    end
    local rule = rule_of(name)
    if rule and not rule[1](value) then
      return fail(handle, INVALID_ARGUMENT, name:sub(1, 64) .. ": " .. rule[2])
    end
  end
  local encoding = headers:get("grpc-encoding")
  if encoding and not ENCODINGS[encoding] then
    local text = "grpc-encoding: is not supported; must be one of " .. ACCEPTED
    return fail(handle, UNIMPLEMENTED, text, {["grpc-accept-encoding"] = ACCEPTED})
  end
  local timeout = headers:get("grpc-timeout")
  local longest = handle:metadata():get("longest") or LONGEST
  if timeout and tonumber(timeout:sub(1, -2)) * SECONDS[timeout:sub(-1)] > longest then
    headers:replace("grpc-timeout", ("%dS"):format(longest))
  end
end
