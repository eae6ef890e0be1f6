-- REST, before a request is transcoded to gRPC and after its response is transcoded
-- to JSON: checks what the transcoder does not check, and gives errors their form.
-- Rules about fields belong to the server.
--
-- Envoy serves all callers with one thread, so everything here takes linear time: no
-- pattern may have two repetitions that can match the same characters.

local REST = "/portal-api/"
local PARSED = "portal.json"  -- metadata of the filter "json" in envoy.yaml
local TRAILERS = "portal.trailers"  -- metadata of the filter "trailers" there
local OURS = "portal.rest"  -- metadata of this file
local MAX_QUOTED = 64  -- bytes of the request that an error quotes
local MAX_CONTENT_TYPE = 256  -- bytes
local PARAMETERS = {per_page = true, page = true, limit = true, force = true}
-- Where the reason of an error decides, and not its status in gRPC. errors.proto has the status of
-- each reason.
local STATUS = {
  ETAG_MISMATCH = 412, CLIENT_STATE = 409,
  PROVIDER_REJECTED = 502, PROVIDER_CREDENTIAL_REJECTED = 502, NO_REGISTRATION_ENDPOINT = 502,
  PROVIDER_TLS_NOT_TRUSTED = 502, PROVIDER_ADDRESS_NOT_ALLOWED = 502,
}
local NOT_LABELS = "Labels: must be an object of strings"
local NOT_A_MESSAGE = '"request: is not a message of this method"'
-- Envoy's parser accepts whole numbers from -2^63 to 2^63-1 exactly, larger ones as doubles, and no
-- others (RFC 8259, section 6, permits such limits).
local NOT_VALID = "the body is not valid JSON, or has a number that is out of range"
local NOT_JSON = "Content-Type must be application/json"

local function fail(handle, status, text)
  -- local_reply_config in envoy.yaml turns the text into {"errors":["text"]}.
  handle:respond({[":status"] = tostring(status)}, text)
end

-- The known parameters of a query, or nil and an error. Only these exact names reach
-- the transcoder: it would write any other into the field of that name, also where the
-- path and the body are read to, and accepts several spellings of a name.
local function known_parameters(query)
  local known, seen = {}, {}
  for pair in query:gmatch("[^&]+") do
    local name = pair:match("^[^=]*")
    if PARAMETERS[name] then
      if #pair <= #name + 1 then return nil, name .. ": needs a value" end
      if seen[name] then return nil, name .. ": is given more than once" end
      seen[name] = true
      known[#known + 1] = pair
    end
  end
  return table.concat(known, "&")
end

-- The path as the transcoder expects it: no slash at its end, only known parameters.
-- Nil and an error where that is not possible.
local function plain_path(path)
  local query_at = path:find("?", 1, true)
  local bare = query_at and path:sub(1, query_at - 1) or path
  if bare:sub(-1) == "/" then bare = bare:sub(1, -2) end
  if not query_at then return bare end
  local query, wrong = known_parameters(path:sub(query_at + 1))
  if not query then return nil, wrong end
  return query == "" and bare or bare .. "?" .. query
end

local function is_other_type(content_type)
  if not content_type then return false end
  if #content_type > MAX_CONTENT_TYPE then return true end
  local essence, parameters = content_type:lower():match("^%s*([^;%s]*)%s*(.*)$")
  local charset = parameters:match("charset%s*=%s*\"?([^\";%s]*)")
  return essence ~= "application/json" or (charset and charset ~= "utf-8")
end

-- The error of a body that the strict parser has read, or nil.
local function body_error(handle, body)
  local metadata = handle:streamInfo():dynamicMetadata()
  local found = metadata:get(PARSED) or {}
  if found.malformed then return NOT_VALID end
  local text = body:getBytes(0, body:length())
  if not text:match("^%s*{") then return "the body must be a JSON object" end
  local flag = found.SSLInsecureSkipVerify
  if flag ~= nil and type(flag) ~= "boolean" then
    return "SSLInsecureSkipVerify: must be true or false"
  end
  if text:find("[", 1, true) then
    -- The transcoder rejects an array and does not name its field: see plain_error().
    local field = text:match('"(%w+)"%s*:%s*%[')
    if field then metadata:set(PARSED, "array", field) end
  end
end

-- gRPC metadata is ASCII. The server reports the two headers that it reads; others
-- mean nothing to it.
local READ = {["idempotency-key"] = true, ["if-match"] = true}

local function remove_non_ascii(headers)
  local names
  for name, value in pairs(headers) do
    if value:find("[^\t -~]") and name:sub(1, 1) ~= ":" then
      names = names or {}
      names[#names + 1] = name
    end
  end
  for _, name in ipairs(names or {}) do
    if READ[name] then headers:replace(name, "") else headers:remove(name) end
  end
end

-- The status and the text of a route that only rejects, or nil.
local function rejection(handle)
  local route = handle:metadata()
  return route:get("status"), route:get("text")
end

-- The paths of lists end in the name of a resource.
local LISTS = {["oauth-providers"] = true, ["client-types"] = true, clients = true}

local function is_list(method, plain)
  local name = plain:match("^[^?]*"):match("[^/]*$")
  return LISTS[name] and (method == "GET" or method == "HEAD")
end

-- A rotation is a PUT without a body.
local function is_rotation(plain)
  return plain:match("^[^?]*"):sub(-7) == "/rotate"
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local method = headers:get(":method")
  if method == "HEAD" then handle:streamInfo():dynamicMetadata():set(OURS, "head", true) end
  local status, text = rejection(handle)
  if status then return fail(handle, status, text) end
  remove_non_ascii(headers)
  local path = headers:get(":path")
  if path:sub(1, #REST) ~= REST then return end  -- gRPC
  local plain, wrong = plain_path(path)
  if wrong then return fail(handle, 400, wrong) end
  if plain ~= path then headers:replace(":path", plain) end
  if method == "HEAD" then headers:replace(":method", "GET") end
  if is_list(method, plain) then
    handle:streamInfo():dynamicMetadata():set(OURS, "list", true)
  end
  local other_type = is_other_type(headers:get("content-type"))
  local has_body = method == "POST" or method == "PUT" and not is_rotation(plain)
  if has_body and other_type then return fail(handle, 415, NOT_JSON) end
  local body = handle:body()
  if not body or body:length() == 0 then return end
  if other_type then return fail(handle, 415, NOT_JSON) end
  if has_body then
    wrong = body_error(handle, body)
    if wrong then return fail(handle, 400, wrong) end
  else
    -- The transcoder would read its fields like parameters of the query.
    body:setBytes("")
    handle:headers():replace("content-length", "0")
  end
end

-- The JSON string literal of `text` that starts at `from`, with its quotes.
local function literal(text, from)
  local at = from + 1
  while true do
    local stop = text:find('["\\]', at)
    if not stop then return nil end
    if text:sub(stop, stop) == '"' then return text:sub(from, stop) end
    at = stop + 2
  end
end

local function string_field(text, name, from)
  local _, at = text:find('"' .. name .. '":', from, true)
  return at and literal(text, at + 1), at
end

-- The errors of a google.rpc.Status in JSON: its field violations, else its
-- message. Literals are copied, never decoded.
local function errors_of_status(text)
  local errors = {}
  local at = text:find('"fieldViolations":', 1, true)
  while at do
    local field, description
    field, at = string_field(text, "field", at)
    if not field then break end
    description, at = string_field(text, "description", at)
    if not description then break end
    local one = field:sub(1, -2) .. ": " .. description:sub(2)
    -- For an object inside of Labels, the transcoder writes bytes that are not a message.
    errors[#errors + 1] = one == NOT_A_MESSAGE and '"' .. NOT_LABELS .. '"' or one
  end
  if #errors == 0 then errors[1] = string_field(text, "message", 1) end
  return errors
end

-- The JSON name of a field that the transcoder names as the protos do.
local ACRONYMS = {ca = "CA", id = "ID", ssl = "SSL", url = "URL", urls = "URLs"}

local function json_name(name)
  if PARAMETERS[name] then return name end
  return (name:gsub("([^_]+)_?", function(word)
    return ACRONYMS[word] or word:sub(1, 1):upper() .. word:sub(2)
  end))
end

local TYPES = {
  TYPE_STRING = "must be a string", TYPE_BOOL = "must be true or false",
  TYPE_INT64 = "must be an integer",
}

-- How errors of the transcoder about the one map begin.
local IN_LABELS = '{"errors":["client.labels'
local IS_LABELS = '{"errors":["client: invalid value Cannot bind a list to map'

-- An error of the transcoder in plain words: which field, what is wrong. Nil for
-- others.
local function plain_error(text, array)
  if text:sub(1, #IN_LABELS) == IN_LABELS or text:sub(1, #IS_LABELS) == IS_LABELS then
    local twice = text:find("Repeated map key", 1, true)
    return twice and "Labels: a key is given more than once" or NOT_LABELS
  end
  local value = text:find(": invalid value ", 1, true)
  if value then
    local name = text:sub(math.max(1, value - MAX_QUOTED), value - 1):match("[%w_]+$")
    local type_ = text:sub(-MAX_QUOTED):match(" for type (TYPE_%u+%d*)")
    if name and TYPES[type_] then return json_name(name) .. ": " .. TYPES[type_] end
  end
  local name = text:match("Starting an object on a scalar field for type ([%w_]+)")
  if name then return json_name(name) .. ": must not be an object" end
  name = text:match("oneof field '_([%w_]+)' is already set")
  if name then return json_name(name) .. ": is given more than once" end
  if text:find("Proto fields must have a name", 1, true) then return "a field must have a name" end
  if text:find("is not repeating, cannot start list", 1, true) then
    return (array or "the body") .. ": must not be an array; a list is a comma-separated string"
  end
end

-- Sends a response as JSON. A response to HEAD has the length of the one to GET, and no
-- body.
local function send(handle, status, body, head)
  handle:body(true):setBytes(head and "" or body)
  -- Fetched here: headers from before body() are stale.
  local headers = handle:headers()
  headers:replace(":status", tostring(status))
  headers:replace("content-type", "application/json")
  headers:replace("content-length", tostring(#body))
  return headers
end

-- The rows of the parts in a chunk of a list. The transcoder passes on whole parts, with a
-- bracket or a comma before each, and the last bracket with the last part or alone. A quote
-- inside of a row's text is escaped, so these strings are never part of a row.
local OPEN, BETWEEN = '{"Items":[', ']},{"Items":['

local function rows_of(text)
  if text:sub(2, #OPEN + 1) ~= OPEN then return text end
  local last = text:sub(-2) ~= "]}"
  local rows = text:sub(#OPEN + 2, last and -4 or -3)
  local parts, from = {}, 1
  repeat
    local at, stop = rows:find(BETWEEN, from, true)
    parts[#parts + 1] = rows:sub(from, (at or 0) - 1)
    from = (stop or 0) + 1
  until not at
  return text:sub(1, 1) .. table.concat(parts, ",") .. (last and "]" or "")
end

local function send_resource(handle, ours)
  local trailers = handle:streamInfo():dynamicMetadata():get(TRAILERS)
  if trailers and trailers.etag then handle:headers():add("etag", trailers.etag) end
  if not ours.head and not ours.list then return end
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    if ours.head then
      chunk:setBytes("")
    elseif length > 0 then
      chunk:setBytes(rows_of(chunk:getBytes(0, length)))
    end
  end
end

function envoy_on_response(handle)
  local ours = handle:streamInfo():dynamicMetadata():get(OURS) or {}
  local head = ours.head
  local rejected, reason = rejection(handle)
  if rejected == "415" then
    -- Envoy has formed a response of gRPC, because the request looked like gRPC.
    local headers = send(handle, rejected, '{"errors":["' .. reason .. '"]}', head)
    headers:remove("grpc-status")
    headers:remove("grpc-message")
    return
  end
  local status = tonumber(handle:headers():get(":status"))
  if status < 400 then return send_resource(handle, ours) end
  local body = handle:body(true)
  local text = body:length() > 0 and body:getBytes(0, body:length()) or ""
  if head and text == "" then return end  -- Envoy's own response, without a body already
  local errors
  if text:sub(1, 8) == '{"code":' then
    errors = errors_of_status(text)
    -- Quotes that a caller sends are escaped: this is from the server, whose first detail is the
    -- ErrorInfo.
    status = STATUS[text:match('"reason":"([%u_]+)"')] or status
  elseif text:sub(1, 10) == '{"errors":' then
    local found = handle:streamInfo():dynamicMetadata():get(PARSED) or {}
    local plain = status == 400 and plain_error(text, found.array)
    if not plain then return end
    errors = {'"' .. plain .. '"'}
  end
  if not errors or #errors == 0 then errors = {'"Bad request"'} end
  local headers = send(handle, status, '{"errors":[' .. table.concat(errors, ",") .. "]}", head)
  if status == 401 then headers:replace("www-authenticate", "Bearer") end
  -- A limit is reached, or the service is not available: RetryInfo of native responses.
  if status == 429 or status == 503 then
    headers:replace("retry-after", text:match('"retryDelay":"(%d+)s"') or "1")
  end
end
