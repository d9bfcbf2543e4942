import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** Java's SSLSocket as a client and as a server: as peer.go. Arguments: a mode, then name=value. */
public class Peer {
    static final int[] SIZES = {1, 100, 16383, 16384, 16385, 100000};
    static final int PATIENCE_MS = 60000;
    static final Map<String, String> asked = new HashMap<>();

    public static void main(String[] words) throws Exception {
        for (String word : Arrays.copyOfRange(words, 1, words.length)) {
            String[] parts = word.split("=", 2);
            asked.put(parts[0], parts[1]);
        }
        if (asked.containsKey("limits")) { // how many bytes are sent before a KeyUpdate
            Security.setProperty("jdk.tls.keyLimits", asked.get("limits"));
        }
        SSLContext context = context();
        if (words[0].equals("server")) {
            serve(context);
            return;
        }
        SSLSocket socket = client(context);
        boolean isResumed = false;
        if (asked.containsKey("resume")) {
            Thread.sleep(5); // sessions are dated in milliseconds
            long then = System.currentTimeMillis();
            socket = client(context);
            isResumed = socket.getSession().getCreationTime() < then;
        }
        System.out.println("good " + cipher + " " + isResumed);
    }

    static String cipher = "";

    static SSLSocket client(SSLContext context) throws Exception {
        int port = Integer.parseInt(asked.get("port"));
        SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("127.0.0.1", port);
        socket.setSoTimeout(PATIENCE_MS);
        SSLParameters wanted = socket.getSSLParameters();
        wanted.setEndpointIdentificationAlgorithm("HTTPS");
        wanted.setProtocols(new String[] {asked.get("version")});
        if (asked.containsKey("cipher")) {
            wanted.setCipherSuites(new String[] {asked.get("cipher")});
        }
        if (asked.containsKey("fragment")) { // max_fragment_length
            wanted.setMaximumPacketSize(Integer.parseInt(asked.get("fragment")));
        }
        socket.setSSLParameters(wanted);
        socket.startHandshake();
        cipher = socket.getSession().getCipherSuite();
        InputStream in = socket.getInputStream();
        OutputStream out = socket.getOutputStream();
        int rounds = Integer.parseInt(asked.getOrDefault("rounds", "1"));
        for (int round = 0; round < rounds; round++) {
            for (int size : SIZES) {
                echo(in, out, size, round);
            }
        }
        socket.shutdownOutput(); // close_notify; the other half stays
        if (in.read() != -1) {
            throw new SSLException("more came");
        }
        socket.close();
        return socket;
    }

    static void echo(InputStream in, OutputStream out, int size, int round) throws Exception {
        byte[] sent = new byte[size];
        new Random(31 * size + round).nextBytes(sent);
        Thread writer = new Thread(() -> {
            try {
                out.write(sent);
            } catch (Exception why) {
                System.out.println("failed to write: " + why);
            }
        });
        writer.start();
        byte[] back = in.readNBytes(size);
        writer.join();
        if (!Arrays.equals(sent, back)) {
            throw new SSLException("an echo of " + size + " bytes is another");
        }
    }

    static void serve(SSLContext context) throws Exception {
        SSLServerSocket listener =
            (SSLServerSocket) context.getServerSocketFactory().createServerSocket(0, 1024);
        listener.setEnabledProtocols(new String[] {asked.get("version")});
        if (asked.containsKey("cipher")) {
            listener.setEnabledCipherSuites(new String[] {asked.get("cipher")});
        }
        listener.setNeedClientAuth(asked.containsKey("ask"));
        System.out.println(listener.getLocalPort());
        AtomicInteger good = new AtomicInteger(), cut = new AtomicInteger();
        Thread accepting = new Thread(() -> {
            while (true) {
                try {
                    SSLSocket socket = (SSLSocket) listener.accept();
                    new Thread(() -> {
                        try (socket) {
                            socket.getInputStream().transferTo(socket.getOutputStream());
                            good.incrementAndGet();
                        } catch (Exception why) {
                            cut.incrementAndGet();
                        }
                    }).start();
                } catch (Exception why) {
                    return;
                }
            }
        });
        accepting.setDaemon(true);
        accepting.start();
        System.in.readAllBytes();
        System.out.println("good " + good + " cut " + cut + " refused 0 resumed 0");
        System.exit(0);
    }

    static SSLContext context() throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null);
        try (InputStream file = Files.newInputStream(Path.of(asked.get("ca")))) {
            trusted.setCertificateEntry("ca", factory.generateCertificate(file));
        }
        TrustManagerFactory trust =
            TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        KeyManagerFactory keys =
            KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        KeyStore own = KeyStore.getInstance(KeyStore.getDefaultType());
        own.load(null);
        if (asked.containsKey("cert")) {
            byte[] pem = Files.readAllBytes(Path.of(asked.get("cert")));
            Certificate[] chain = factory.generateCertificates(new ByteArrayInputStream(pem))
                .toArray(new Certificate[0]);
            own.setKeyEntry("own", key(), new char[0], chain);
        }
        keys.init(own, new char[0]);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }

    static PrivateKey key() throws Exception {
        String pem = Files.readString(Path.of(asked.get("key")));
        String body = pem.replaceAll("-----[A-Z ]+-----", "").replaceAll("\\s", "");
        PKCS8EncodedKeySpec spec = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(body));
        String kind = asked.getOrDefault("kind", "EC");
        return KeyFactory.getInstance(kind).generatePrivate(spec);
    }
}
