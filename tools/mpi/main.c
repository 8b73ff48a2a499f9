/* cm3-mpi: `cm3 train` on many machines, under mpirun. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm.h"
#include "train.h"

static const char help_text[] =
    "Usage: mpirun -n RANKS [OPTION OF MPIRUN]... cm3-mpi [OPTION]... train PART [OPTION OF CM3 TRAIN]...\n"
    "\n"
    "'cm3 train' by many processes (ranks), each started with the same words. They share\n"
    "out the micro-steps of a step: RANKS must divide --accumulation. The losses and the\n"
    "checkpoints are those of one process: a run may go on with another number of ranks.\n"
    "Rank 0 shows progress and writes the log and the model; what another rank says begins\n"
    "with its number. 'encode' shares out the shards, 'bpe' is done by rank 0.\n"
    "\n"
    "      --comm-timeout SECONDS  a rank that has waited so long for the others says for what,\n"
    "                              and ends the run; 0 is for ever (1800)\n"
    "      --comm-times            say at the end how often and how long rank 0 called the others\n"
    "      --version\n"
    "\n"
    "--threads of 'cm3 train' is then of each rank: the CPUs that it has for itself, where\n"
    "it is not given.\n"
    "\n"
    "SIGTERM, SIGINT or SIGUSR1 to any rank: all write a checkpoint together and end, with\n"
    "exit code 130. mpirun itself hands on SIGUSR1; of SIGTERM and SIGINT Open MPI's makes\n"
    "SIGKILL after a second (--mca odls_base_sigkill_timeout SECONDS).\n"
    "\n"
    "  mpirun -n 4 cm3-mpi train lm --data 'codes/*.tar' --run lm-run --tokenizer tokenizer.json \\\n"
    "         --vq vq.cm3 --config lm.json --batch-size 2 --accumulation 8 --steps 13000 -o model.cm3\n"
    "\n"
    "'cm3 train --help' has the options of training, docs/training.md tells how runs are kept\n"
    "alive (scripts/train-supervised), docs/scaling.md what is to be expected of them.\n";

/** The options before the command. The words that they take; -1 after saying what is wrong. */
static int read_options(int argc, char **argv, double *timeout, bool *times) {
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (!strcmp(argv[i], "--comm-times")) {
            *times = true;
            continue;
        }
        bool joined = !strncmp(argv[i], "--comm-timeout=", 15);
        if (!joined && strcmp(argv[i], "--comm-timeout") != 0) {
            cm3_say("there is no option '%s' before the command; --help lists them", argv[i]);
            return -1;
        }
        const char *text = joined ? argv[i] + 15 : ++i < argc ? argv[i] : "";
        char *end = NULL;
        *timeout = strtod(text, &end);
        if (end == text || *end || !(*timeout == 0 || (*timeout >= 1 && *timeout <= 1e6))) {
            cm3_say("--comm-timeout: '%s' is neither 0 nor 1 to 1000000 seconds", text);
            return -1;
        }
    }
    return i;
}

static int run_rank(cm3_mpi *mpi, int argc, char **argv) {
    static char name[48];
    if (mpi->table.rank) {
        snprintf(name, sizeof name, "cm3: rank %d", (int)mpi->table.rank);
        cm3_speak_as(name);
    }
    int64_t cpus = cm3_mpi_cpus();
    return cm3_train_run(argc, argv, &mpi->table, cpus);
}

int main(int argc, char **argv) {
    if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
        fputs(help_text, stdout);
        return CM3_EXIT_DONE;
    }
    if (argc == 2 && !strcmp(argv[1], "--version")) {
        char library[MPI_MAX_LIBRARY_VERSION_STRING];
        int length = 0;
        MPI_Get_library_version(library, &length);
        library[strcspn(library, ",\n")] = '\0';
        for (char *tab = library; (tab = strchr(tab, '\t'));) *tab = ' ';
        printf("cm3-mpi %s, on %s\n", cm3_version(), library);
        return CM3_EXIT_DONE;
    }
    double timeout = CM3_MPI_TIMEOUT;
    bool times = false;
    int first = read_options(argc, argv, &timeout, &times);
    if (first < 0) return CM3_EXIT_USAGE;
    if (first >= argc || strcmp(argv[first], "train") != 0) {
        cm3_say("the command is 'train'; --help tells more");
        return CM3_EXIT_USAGE;
    }
    if (cm3_wants_help(argc - first, argv + first, NULL))
        return cm3_train_run(argc - first - 1, argv + first + 1, NULL, -1);
    cm3_catch_signals_of_starters();
    cm3_mpi mpi;
    if (!cm3_mpi_open(&mpi, &argc, &argv, timeout)) return CM3_EXIT_FAILED;
    int code = run_rank(&mpi, argc - first - 1, argv + first + 1);
    if (times && mpi.table.rank == 0) cm3_mpi_tell_times(&mpi);
    cm3_mpi_close(&mpi, code != CM3_EXIT_DONE && code != CM3_EXIT_INTERRUPTED, code);
    return code;
}
