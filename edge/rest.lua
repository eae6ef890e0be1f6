-- The envelope of REST: what a request must look like before it is transcoded,
-- and how an error looks after. Rules about fields are the server's.
--
-- Envoy has one thread for everybody, so everything here is linear in what a
-- caller sends: no pattern may try the same characters from many places.

local REST = "/portal-api/"
local PARSED = "portal.json"  -- the metadata of the strict parser, see envoy.yaml
local TRAILERS = "portal.trailers"  -- the metadata of the filter "trailers" there
local REJECTED = "portal.rest"  -- the metadata of a status that Envoy would change
local LONGEST_QUOTE = 64  -- bytes of a caller's text in an error
local LONGEST_CONTENT_TYPE = 256  -- bytes
local QUERY_PARAMETERS = {per_page = true, page = true, limit = true, force = true}

local function fail(handle, status, text)
  -- local_reply_config in envoy.yaml makes {"errors":["text"]} of it.
  handle:respond({[":status"] = tostring(status)}, text)
end

local function quoted(text)
  if #text <= LONGEST_QUOTE then return text end
  return text:sub(1, LONGEST_QUOTE) .. "..."
end

-- What is wrong with a query string, or nil. Only plain names pass: the
-- transcoder would bind any field of the request, the path's and the body's
-- too, and takes every spelling of its name.
local function bad_query(query)
  for pair in query:gmatch("[^&]+") do
    local name, value = pair:match("^([^=]*)=(.*)$")
    if not QUERY_PARAMETERS[name or pair] then
      return "unknown query parameter: " .. quoted(name or pair)
    elseif not value or value == "" then
      return pair:gsub("=", "") .. ": needs a value"
    end
  end
end

local function bad_content_type(content_type)
  if not content_type then return false end
  if #content_type > LONGEST_CONTENT_TYPE then return true end
  local essence, parameters = content_type:lower():match("^%s*([^;%s]*)%s*(.*)$")
  local charset = parameters:match("charset%s*=%s*\"?([^\";%s]*)")
  return essence ~= "application/json" or (charset and charset ~= "utf-8")
end

-- What is wrong with a body that the strict parser has read, or nil.
local function bad_body(handle)
  local body = handle:body()
  if not body or body:length() == 0 then return nil end
  local metadata = handle:streamInfo():dynamicMetadata()
  local found = metadata:get(PARSED) or {}
  if found.malformed then return "the body is not valid JSON" end
  local text = body:getBytes(0, body:length())
  if not text:match("^%s*{") then return "the body must be a JSON object" end
  local flag = found.SSLInsecureSkipVerify
  if flag ~= nil and type(flag) ~= "boolean" then
    return "SSLInsecureSkipVerify: must be true or false"
  end
  if text:find("[", 1, true) then
    -- The transcoder refuses an array without saying where: a hint for plain().
    local key = text:match('"(%w+)"%s*:%s*%[')
    if key then metadata:set(PARSED, "array", key) end
  end
end

-- gRPC has no place for a value that is not ASCII. Those of ours the server rejects
-- by their names; the others mean nothing to it.
local OURS = {["idempotency-key"] = true, ["if-match"] = true}

local function clean(headers)
  local unfit
  for name, value in pairs(headers) do
    if value:find("[^\t -~]") and name:sub(1, 1) ~= ":" then
      unfit = unfit or {}
      unfit[#unfit + 1] = name
    end
  end
  for _, name in ipairs(unfit or {}) do
    if OURS[name] then headers:replace(name, "") else headers:remove(name) end
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  clean(headers)
  local path, method = headers:get(":path"), headers:get(":method")
  if path:sub(1, #REST) ~= REST then return end
  local content_type = headers:get("content-type")
  if content_type and content_type:sub(1, 16):lower() == "application/grpc" then
    -- Envoy takes this for a call of gRPC and makes its status 200.
    handle:streamInfo():dynamicMetadata():set(REJECTED, "status", "415")
    return fail(handle, 415, "Content-Type must be application/json")
  end
  local query = path:match("%?(.*)$")
  local wrong = query and bad_query(query)
  if wrong then return fail(handle, 400, wrong) end
  if path:find("^[^?]*/%+") or path:find("^[^?]*/%%2[bB]") then
    return fail(handle, 400, "an id must be an integer without a sign")
  end
  local wrong_type = bad_content_type(content_type)
  if method == "POST" or method == "PUT" then
    if wrong_type then
      return fail(handle, 415, "Content-Type must be application/json")
    end
    wrong = bad_body(handle)
    if wrong then return fail(handle, 400, wrong) end
  else
    -- The transcoder would read it, and bind its fields like the query's.
    local body = handle:body()
    if body and body:length() > 0 then
      if wrong_type then
        return fail(handle, 415, "Content-Type must be application/json")
      end
      body:setBytes("")
      handle:headers():replace("content-length", "0")
    end
  end
end

-- The JSON string literal of `text` that starts at `from`, quotes and all.
local function literal(text, from)
  local at = from + 1
  while true do
    local stop = text:find('["\\]', at)
    if not stop then return nil end
    if text:sub(stop, stop) == '"' then return text:sub(from, stop) end
    at = stop + 2
  end
end

local function field_of(text, key, from)
  local _, at = text:find('"' .. key .. '":', from, true)
  return at and literal(text, at + 1), at
end

-- The errors of a google.rpc.Status in JSON: its field violations, else its
-- message. Literals are copied, never decoded.
local function errors_of_status(text)
  local errors = {}
  local at = text:find('"fieldViolations":', 1, true)
  while at do
    local field, description
    field, at = field_of(text, "field", at)
    if not field then break end
    description, at = field_of(text, "description", at)
    if not description then break end
    errors[#errors + 1] = field:sub(1, -2) .. ": " .. description:sub(2)
  end
  if #errors == 0 then errors[1] = field_of(text, "message", 1) end
  return errors
end

-- The transcoder names fields as the protos do; these are all that a body has.
local KEYS = {
  name = "Name", type = "Type", well_known_url = "WellKnownURL",
  ssl_insecure_skip_verify = "SSLInsecureSkipVerify",
  registration_access_token = "RegistrationAccessToken",
  description = "Description", response_types = "ResponseTypes",
  grant_type = "GrantType", token_endpoint_auth_method = "TokenEndpointAuthMethod",
  okta_app_type = "OktaAppType",
}
local KINDS = {
  TYPE_STRING = "must be a string", TYPE_BOOL = "must be true or false",
  TYPE_INT64 = "must be an integer",
}

-- The transcoder's refusals in words for callers: which key, what is wrong.
local function plain(text, array)
  local function key(name) return KEYS[name] or name end
  local value = text:find(": invalid value ", 1, true)
  if value then
    local name = text:sub(math.max(1, value - LONGEST_QUOTE), value - 1):match("[%w_]+$")
    local kind = text:sub(-LONGEST_QUOTE):match(" for type (TYPE_%u+%d*)")
    if name and KINDS[kind] then return key(name) .. ": " .. KINDS[kind] end
  end
  local name = text:match("Starting an object on a scalar field for type ([%w_]+)")
  if name then return key(name) .. ": must not be an object" end
  name = text:match("oneof field '_([%w_]+)' is already set")
  if name then return key(name) .. ": is given more than once" end
  local field = text:find("Could not find field ", 1, true)
  if field then
    name = text:sub(field, field + LONGEST_QUOTE):match('\\"([%w_]+)\\"')
    if name then return "unknown query parameter: " .. name end
  end
  if text:find("Proto fields must have a name", 1, true) then return "a key must not be empty" end
  if text:find("is not repeating, cannot start list", 1, true) then
    return (array or "the body") .. ": must not be an array; a list is a comma-separated string"
  end
end

local function send_etag(handle)
  local trailers = handle:streamInfo():dynamicMetadata():get(TRAILERS)
  if trailers and trailers.etag then handle:headers():add("etag", trailers.etag) end
end

-- Envoy has made an answer of gRPC of a rejection: make it one of REST again.
local function restore(handle, status)
  local length = handle:body(true):setBytes('{"errors":["Content-Type must be application/json"]}')
  local headers = handle:headers()
  headers:replace(":status", status)
  headers:replace("content-type", "application/json")
  headers:replace("content-length", tostring(length))
  headers:remove("grpc-status")
  headers:remove("grpc-message")
end

function envoy_on_response(handle)
  local rejected = handle:streamInfo():dynamicMetadata():get(REJECTED)
  if rejected then return restore(handle, rejected.status) end
  local status = tonumber(handle:headers():get(":status"))
  if status < 400 then return send_etag(handle) end
  local body = handle:body(true)
  local text = body:length() > 0 and body:getBytes(0, body:length()) or ""
  local errors
  if text:sub(1, 8) == '{"code":' then
    errors = errors_of_status(text)
    -- Quotes in what a caller sent are escaped: this is the server's own word.
    if text:find('"reason":"ETAG_MISMATCH"', 1, true) then status = 412 end
  elseif text:sub(1, 10) == '{"errors":' then
    local found = handle:streamInfo():dynamicMetadata():get(PARSED) or {}
    local better = status == 400 and plain(text, found.array)
    if not better then return end
    errors = {'"' .. better .. '"'}
  end
  if not errors or #errors == 0 then errors = {'"Bad request"'} end
  local length = body:setBytes('{"errors":[' .. table.concat(errors, ",") .. "]}")
  -- Fetched again: the headers from before body() are stale.
  local headers = handle:headers()
  headers:replace("content-length", tostring(length))
  headers:replace("content-type", "application/json")
  headers:replace(":status", tostring(status))
  if status == 401 then headers:replace("www-authenticate", "Bearer") end
  -- Over a bound, or away for a moment: as RetryInfo says it to native callers.
  if status == 429 or status == 503 then headers:replace("retry-after", "1") end
end
