import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Runs one scenario with java.net.http as it comes, which asks every plain-text server for an upgrade to HTTP/2; see
 * ../README.md. The JDK has no JSON parser, so this program reads what it needs by pattern, and prints the body besides.
 */
public class Client {
    private static final Pattern CONTENT = Pattern.compile("\"content\"\\s*:\\s*\"((?:[^\"\\\\]|\\\\.)*)\"");
    private static final Pattern ERROR = Pattern.compile("\"error\"\\s*:\\s*\\{");

    public static void main(String[] args) throws Exception {
        String scenario = args[0];
        HttpResponse<String> response =
                HttpClient.newHttpClient().send(request(scenario), HttpResponse.BodyHandlers.ofString());
        String body = response.body();
        boolean ok = response.statusCode() == 200 && !ERROR.matcher(body).find();
        System.out.println("{\"sdk\":" + quote("java " + Runtime.version())
                + ",\"scenario\":" + quote(scenario)
                + ",\"ok\":" + ok
                + ",\"attempts\":1"
                + ",\"status\":" + response.statusCode()
                + ",\"version\":" + quote(response.version().toString())
                + ",\"headers\":" + headers(response)
                + ",\"content\":\"" + content(body) + "\""
                + ",\"chunks\":" + body.lines().filter(line -> line.startsWith("data: {")).count()
                + ",\"body\":" + quote(body) + "}");
    }

    private static HttpRequest request(String scenario) {
        String more = switch (scenario) {
            case "chat" -> "";
            case "stream" -> ",\"stream\":true";
            case "stream-usage" -> ",\"stream\":true,\"stream_options\":{\"include_usage\":true}";
            default -> throw new IllegalArgumentException("scenario " + scenario + ": want chat, stream or stream-usage");
        };
        String body = "{\"model\":" + quote(env("SDK_MODEL", "gpt-4o-mini"))
                + ",\"max_completion_tokens\":" + Integer.parseInt(env("SDK_MAX_TOKENS", "8"))
                + ",\"messages\":[{\"role\":\"user\",\"content\":" + quote(env("SDK_PROMPT", "Say hello.")) + "}]"
                + more + "}";
        return HttpRequest.newBuilder(URI.create(System.getenv("OPENAI_BASE_URL") + "/chat/completions"))
                .header("Authorization", "Bearer " + System.getenv("OPENAI_API_KEY"))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
    }

    /** The texts of all messages or deltas, joined; still escaped as in the JSON they come from. */
    private static String content(String body) {
        return CONTENT.matcher(body).results().map(found -> found.group(1)).collect(Collectors.joining());
    }

    private static String headers(HttpResponse<String> response) {
        Map<String, String> kept = new TreeMap<>();
        response.headers().map().forEach((name, values) -> {
            String lower = name.toLowerCase();
            if (lower.startsWith("x-") || lower.equals("retry-after") || lower.equals("content-type")) {
                kept.put(lower, values.get(0));
            }
        });
        return kept.entrySet().stream()
                .map(entry -> quote(entry.getKey()) + ":" + quote(entry.getValue()))
                .collect(Collectors.joining(",", "{", "}"));
    }

    private static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                quoted.append('\\').append(c);
            } else if (c < ' ') {
                quoted.append(String.format("\\u%04x", (int) c));
            } else {
                quoted.append(c);
            }
        }
        return quoted.append('"').toString();
    }

    private static String env(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }
}
