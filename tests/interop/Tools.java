import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

import org.apache.kafka.common.utils.Exit;

/**
 * Runs Apache Kafka's own tools one after another in one machine, for each takes seconds to start one.
 *
 * A line of the input is a class and its words, with tabs between them. The answer is a line with the
 * exit code and the count of the bytes that the tool said, and then those bytes.
 */
public final class Tools {
    private static final ByteArrayOutputStream SAID = new ByteArrayOutputStream();
    private static final PrintStream MOUTH = new PrintStream(SAID, true, StandardCharsets.UTF_8);

    /** What the tool wanted to end with, and what it had said by then; some catch what ends them. */
    private static int code;
    private static byte[] words;

    private static void end(int wanted) {
        if (words == null) {
            MOUTH.flush();
            code = wanted;
            words = SAID.toByteArray();
        }
    }

    public static void main(String[] none) throws Exception {
        PrintStream answers = System.out;
        System.setOut(MOUTH);
        System.setErr(MOUTH);
        Exit.Procedure procedure = (wanted, message) -> {
            end(wanted);
            throw new IllegalStateException("it has ended");
        };
        Exit.setExitProcedure(procedure);
        Exit.setHaltProcedure(procedure);
        BufferedReader lines =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            run(line.split("\t"));
            answers.print(code + " " + words.length + "\n");
            answers.write(words);
            answers.flush();
        }
    }

    private static void run(String[] line) throws Exception {
        SAID.reset();
        words = null;
        Object rest = Arrays.copyOfRange(line, 1, line.length);
        try {
            Class.forName(line[0]).getMethod("main", String[].class).invoke(null, rest);
            end(0);
        } catch (InvocationTargetException why) {
            why.getCause().printStackTrace();
            end(1);
        }
    }
}
