// SPDX-License-Identifier: MIT
// Aeron over aeron:ipc as a peer program of sluice-perf: one process of a measured pair.

import io.aeron.Aeron;
import io.aeron.ExclusivePublication;
import io.aeron.FragmentAssembler;
import io.aeron.Publication;
import io.aeron.Subscription;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import io.aeron.logbuffer.BufferClaim;
import io.aeron.logbuffer.FragmentHandler;
import io.aeron.logbuffer.Header;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import org.agrona.BitUtil;
import org.agrona.BufferUtil;
import org.agrona.DirectBuffer;
import org.agrona.MutableDirectBuffer;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * The ping side runs the media driver: inside itself, or, with --driver separate, as a process
 * of its own that ends with ping.
 */
public final class AeronPeer {
    private static final int WORD = Long.BYTES;
    private static final int LINE = 64;
    private static final int SIZE_MAX = 1 << 20;
    private static final int FRAGMENTS = 10;
    private static final int MTU_MIN = 1408;
    private static final int MTU_MAX = 65504;
    private static final String CHANNEL = "aeron:ipc";
    private static final int TERM_MIN = 4 * 1024 * 1024;
    private static final int TERM_MAX = 64 * 1024 * 1024;
    private static final long PATIENCE_NS = 20_000_000_000L;
    private static final long FAREWELL_NS = 5_000_000_000L;

    private final boolean ping;
    private final int size;
    private final ExclusivePublication publication;
    private final Subscription subscription;
    private final FragmentHandler handler;
    private final BufferClaim claim = new BufferClaim();
    private final UnsafeBuffer own;

    private long arrived;
    private long wanted;
    private Use use;

    /**
     * What is done with an arrived message, inside the fragment handler: as soon as poll() returns,
     * the driver may fill the log behind the subscriber with zeros.
     */
    private interface Use {
        void of(DirectBuffer data, int at, int bytes, long number);
    }

    private AeronPeer(final Options options, final Aeron aeron) {
        ping = options.ping;
        size = options.size;
        publication = aeron.addExclusivePublication(CHANNEL, ping ? 1 : 2);
        subscription = aeron.addSubscription(CHANNEL, ping ? 2 : 1);
        own = new UnsafeBuffer(BufferUtil.allocateDirectAligned(size, LINE));
        handler = fits(size) ? this::take : new FragmentAssembler(this::take, size);
    }

    private void take(final DirectBuffer data, final int at, final int bytes, final Header header) {
        use.of(data, at, bytes, arrived++);
    }

    /** What arrives from now on is numbered from 0 and used so. */
    private void begin(final Use what) {
        arrived = 0;
        wanted = 0;
        use = what;
    }

    /** Polls and never sleeps, like Aeron's BusySpinIdleStrategy, until so many more arrived. */
    private void receive(final int messages) {
        wanted += messages;
        while (arrived < wanted) {
            if (subscription.poll(handler, FRAGMENTS) == 0) {
                Thread.onSpinWait();
            }
        }
    }

    /** Returns if it is worth trying again. */
    private static void refused(final long position) {
        if (position == Publication.BACK_PRESSURED || position == Publication.ADMIN_ACTION) {
            Thread.onSpinWait();
            return;
        }
        throw new IllegalStateException(position == Publication.NOT_CONNECTED
            || position == Publication.CLOSED ? "the other side went away"
            : "sending failed: " + Publication.errorString(position));
    }

    private boolean fits(final int bytes) {
        return bytes <= publication.maxPayloadLength();
    }

    /** Memory for a message of that size: in the log if it fits one fragment, else our own. */
    private MutableDirectBuffer lend(final int bytes) {
        long position;
        if (!fits(bytes)) {
            return own;
        }
        while ((position = publication.tryClaim(bytes, claim)) < 0) {
            refused(position);
        }
        return claim.buffer();
    }

    private int lentAt(final int bytes) {
        return fits(bytes) ? claim.offset() : 0;
    }

    private void send(final int bytes) {
        long position;
        if (fits(bytes)) {
            claim.commit();
            return;
        }
        while ((position = publication.offer(own, 0, bytes)) < 0) {
            refused(position);
        }
    }

    private void sendStamped(final int bytes, final long number) {
        final MutableDirectBuffer buffer = lend(bytes);
        final int at = lentAt(bytes);
        buffer.putLong(at + bytes - WORD, number, ByteOrder.LITTLE_ENDIAN);
        buffer.putLong(at, number, ByteOrder.LITTLE_ENDIAN);
        send(bytes);
    }

    private static long word(final DirectBuffer data, final int at) {
        return data.getLong(at, ByteOrder.LITTLE_ENDIAN);
    }

    private static void check(final DirectBuffer data, final int at, final int bytes,
                              final int expected, final long number) {
        if (bytes != expected || word(data, at) != number
            || word(data, at + bytes - WORD) != number) {
            throw new IllegalStateException(
                "message " + number + " did not arrive whole and in order");
        }
    }

    private void check(final DirectBuffer data, final int at, final int bytes, final long number) {
        check(data, at, bytes, size, number);
    }

    private void echo(final DirectBuffer data, final int at, final int bytes, final long number) {
        if (bytes != size) {
            throw new IllegalStateException("message " + number + " did not arrive whole");
        }
        final MutableDirectBuffer buffer = lend(size);
        buffer.putBytes(lentAt(size), data, at, size);
        send(size);
    }

    private void readLines(final DirectBuffer data, final int at, final int bytes,
                           final long number) {
        long sum = 0;
        int lines = 0;
        for (int line = 0; line + WORD <= size; line += LINE, lines++) {
            sum += word(data, at + line);
        }
        if (bytes != size || sum != (number + 1) * lines) {
            throw new IllegalStateException("payload " + number + " is not what was written");
        }
        sendStamped(WORD, number);
    }

    private void fill(final long value) {
        final MutableDirectBuffer buffer = lend(size);
        final int at = lentAt(size);
        for (int word = 0; word + WORD <= size; word += WORD) {
            buffer.putLong(at + word, value, ByteOrder.LITTLE_ENDIAN);
        }
        send(size);
    }

    private static long[] nanos(final long[] ticks) {
        for (int i = 0; i < ticks.length; i++) {
            ticks[i] = Ticks.toNanos(ticks[i]);
        }
        return ticks;
    }

    private long[] pingRound(final int n) {
        final long[] samples = new long[n];
        begin(this::check);
        long begin = Ticks.now();
        for (int i = 0; i < n; i++) {
            sendStamped(size, i);
            receive(1);
            final long end = Ticks.now();
            samples[i] = end - begin;
            begin = end;
        }
        return nanos(samples);
    }

    private long[] pongRound(final int n) {
        begin(this::echo);
        receive(n);
        return new long[1];
    }

    private long[] pingFlow(final int n) {
        final long begin = Ticks.now();
        for (int i = 0; i < n; i++) {
            sendStamped(size, i);
        }
        return new long[] {Ticks.toNanos(Ticks.now() - begin)};
    }

    private long[] pongFlow(final int n) {
        begin(this::check);
        receive(1);
        final long begin = Ticks.now();
        receive(n - 1);
        return new long[] {Ticks.toNanos(Ticks.now() - begin)};
    }

    private long[] pingPayload(final int n) {
        final long[] samples = new long[n];
        begin((data, at, bytes, number) -> check(data, at, bytes, WORD, number));
        long begin = Ticks.now();
        for (int i = 0; i < n; i++) {
            fill(i + 1);
            receive(1);
            final long end = Ticks.now();
            samples[i] = end - begin;
            begin = end;
        }
        return nanos(samples);
    }

    private long[] pongPayload(final int n) {
        begin(this::readLines);
        receive(n);
        return new long[1];
    }

    private long[] obey(final String command) {
        final String[] words = command.trim().split(" +");
        final int n = Integer.parseInt(words[words.length - 1]);
        switch (words[0]) {
            case "round":
                return ping ? pingRound(n) : pongRound(n);
            case "flow":
                return ping ? pingFlow(n) : pongFlow(n);
            case "payload":
                return ping ? pingPayload(n) : pongPayload(n);
            default:
                throw new IllegalArgumentException("unknown command: " + command);
        }
    }

    private static void reply(final long[] numbers) {
        final ByteBuffer bytes =
            ByteBuffer.allocate(numbers.length * WORD).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asLongBuffer().put(numbers);
        System.out.write(bytes.array(), 0, bytes.capacity());
        System.out.flush();
    }

    private void waitForOtherSide() {
        final long start = System.nanoTime();
        while (!publication.isConnected() || !subscription.isConnected()) {
            if (System.nanoTime() - start > PATIENCE_NS) {
                throw new IllegalStateException("the other side did not come within 20 s");
            }
            LockSupport.parkNanos(1_000_000);
        }
    }

    private void serve() throws IOException {
        final BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        String line;
        waitForOtherSide();
        reply(new long[1]);
        while ((line = in.readLine()) != null) {
            reply(obey(line));
        }
        if (ping) {
            waitForFarewell();
        }
    }

    /** The driver is ours: it must not end before the other side has left it. */
    private void waitForFarewell() {
        final long start = System.nanoTime();
        while (subscription.isConnected() && System.nanoTime() - start < FAREWELL_NS) {
            LockSupport.parkNanos(1_000_000);
        }
    }

    private static final class Options {
        private boolean ping;
        private boolean separate;
        private boolean driver;
        private int size;
        private int slots;
        private String dir = "";

        private Options(final String[] words) {
            for (int i = 0; i < words.length; i += 2) {
                final String value = words[i + 1];
                switch (words[i]) {
                    case "--side" -> {
                        require(value.matches("ping|pong|driver"), "--side is ping or pong");
                        ping = value.equals("ping");
                        driver = value.equals("driver");
                    }
                    case "--driver" -> separate = value.equals("separate");
                    case "--mode" -> require(value.equals("spin"), "there is only --mode spin");
                    case "--size" -> size = Integer.parseInt(value);
                    case "--slots" -> slots = Integer.parseInt(value);
                    case "--dir" -> dir = value;
                    default -> require(false, "unknown option " + words[i]);
                }
            }
            require(size >= WORD && size <= SIZE_MAX && slots >= 1, "--size or --slots is wrong");
            require(!dir.isEmpty() && Files.isDirectory(Path.of(dir)), "--dir is no directory");
        }

        private static void require(final boolean holds, final String message) {
            if (!holds) {
                throw new IllegalArgumentException(message);
            }
        }

        private String aeronDir() {
            return dir + "/aeron";
        }

        /** A message in one fragment can be written straight into the log. */
        private int mtu() {
            return Math.min(MTU_MAX, Math.max(MTU_MIN, BitUtil.align(size + LINE, LINE / 2)));
        }

        /**
         * A publisher may be half a term ahead: room for the slots, up to Aeron's default of 64 MiB.
         * All of it is touched beforehand, which takes long in a box.
         */
        private int term() {
            final long slotted = 2L * slots * BitUtil.align(size + LINE, LINE / 2);
            return BitUtil.findNextPositivePowerOfTwo(
                (int) Math.min(TERM_MAX, Math.max(TERM_MIN, slotted)));
        }
    }

    /**
     * One thread for the whole driver, which backs off when it has nothing to do: the two
     * processors belong to ping and pong, and messages over IPC do not pass the driver. A box may
     * stand still for long: nobody is given up early.
     */
    private static MediaDriver launchDriver(final Options options) {
        return MediaDriver.launch(new MediaDriver.Context()
            .aeronDirectoryName(options.aeronDir())
            .dirDeleteOnStart(true)
            .dirDeleteOnShutdown(true)
            .threadingMode(ThreadingMode.SHARED)
            .ipcMtuLength(options.mtu())
            .ipcTermBufferLength(options.term())
            .termBufferSparseFile(false)
            .publicationUnblockTimeoutNs(60_000_000_000L)
            .clientLivenessTimeoutNs(30_000_000_000L));
    }

    private static Aeron connect(final Options options) {
        return Aeron.connect(new Aeron.Context()
            .aeronDirectoryName(options.aeronDir())
            .preTouchMappedMemory(true)
            .errorHandler(AeronPeer::fail)
            .driverTimeoutMs(PATIENCE_NS / 1_000_000));
    }

    private static void play(final Options options) throws IOException {
        try (Aeron aeron = connect(options)) {
            new AeronPeer(options, aeron).serve();
        }
    }

    /** A process that is only the driver. It ends when its stdin, a pipe from us, does. */
    private static void drive(final Options options) throws IOException {
        final MediaDriver driver = launchDriver(options);
        try (driver) {
            while (System.in.read() >= 0) {
                Thread.yield();
            }
        }
    }

    private static Process startDriver(final Options options) throws IOException {
        final ProcessHandle.Info self = ProcessHandle.current().info();
        final List<String> command = new ArrayList<>(List.of(self.arguments().orElseThrow()));
        command.set(command.indexOf("--side") + 1, "driver");
        command.add(0, self.command().orElseThrow());
        return new ProcessBuilder(command)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    }

    private static void playWithDriver(final Options options) throws Exception {
        if (!options.separate) {
            final MediaDriver driver = launchDriver(options);
            try (driver) {
                play(options);
            }
            return;
        }
        final Process driver = startDriver(options);
        try {
            play(options);
        } finally {
            driver.getOutputStream().close();
            driver.waitFor();
        }
    }

    private static void run(final Options options) throws Exception {
        if (options.driver) {
            drive(options);
        } else if (options.ping) {
            playWithDriver(options);
        } else {
            play(options);
        }
    }

    private static void fail(final Throwable error) {
        System.err.println("aeron: " + String.valueOf(error).lines().findFirst().orElse(""));
        System.err.flush();
        Runtime.getRuntime().halt(1);
    }

    public static void main(final String[] words) {
        try {
            run(new Options(words));
        } catch (final Throwable error) {
            fail(error);
        }
    }
}
