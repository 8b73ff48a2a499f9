// As much of NUnit as the package's tests use, and a program that runs them.
using System;
using System.Collections;
using System.Collections.Generic;
using System.Diagnostics;
using System.Reflection;

namespace NUnit.Framework
{
    public sealed class TestAttribute : Attribute
    {
    }

    public sealed class SetUpAttribute : Attribute
    {
    }

    public sealed class TearDownAttribute : Attribute
    {
    }

    public sealed class AssertionException : Exception
    {
        public AssertionException(string message) : base(message)
        {
        }
    }

    public sealed class IgnoreException : Exception
    {
        public IgnoreException(string message) : base(message)
        {
        }
    }

    public static class Assert
    {
        public static void Ignore(string why)
        {
            throw new IgnoreException(why);
        }

        public static void IsTrue(bool condition, string message = "not true")
        {
            if (!condition) throw new AssertionException(message);
        }

        public static void IsFalse(bool condition)
        {
            IsTrue(!condition, "not false");
        }

        public static void IsNull(object thing)
        {
            IsTrue(thing == null, "not null: " + thing);
        }

        public static void AreEqual(object expected, object actual)
        {
            IsTrue(Equals(expected, actual), "expected " + expected + ", found " + actual);
        }

        public static T Throws<T>(Action call) where T : Exception
        {
            try
            {
                call();
            }
            catch (Exception error)
            {
                if (error.GetType() == typeof(T)) return (T)error;
                throw new AssertionException("expected " + typeof(T).Name + ", found " + error);
            }
            throw new AssertionException("expected " + typeof(T).Name + ", and nothing was thrown");
        }
    }

    public static class CollectionAssert
    {
        public static void AreEqual<T>(IList<T> expected, IList<T> actual)
        {
            Assert.AreEqual(expected.Count, actual.Count);
            for (int i = 0; i < expected.Count; i++)
                Assert.IsTrue(Equals(expected[i], actual[i]), "differs at " + i + ": " + expected[i] + ", " + actual[i]);
        }

        public static void Contains<T>(IList<T> list, T item)
        {
            Assert.IsTrue(list.Contains(item), "does not contain " + item);
        }
    }
}

namespace Cm3leon.Tests
{
    /// <summary>tests.exe: runs all. --layout: the structs, --imports: the functions, as the managed side has them.</summary>
    internal static class Program
    {
        private const BindingFlags Members = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic;

        private static int Main(string[] arguments)
        {
            if (arguments.Length > 0 && arguments[0] == "--layout") return Layout.PrintStructs();
            if (arguments.Length > 0 && arguments[0] == "--imports") return Layout.PrintImports();
            int failed = 0, passed = 0;
            foreach (var type in typeof(Program).Assembly.GetTypes())
            {
                foreach (var method in type.GetMethods(Members | BindingFlags.DeclaredOnly))
                {
                    if (!Has<NUnit.Framework.TestAttribute>(method) && !Has<UnityEngine.TestTools.UnityTestAttribute>(method))
                        continue;
                    if (arguments.Length > 0 && method.Name != arguments[0]) continue;
                    if (Run(type, method)) passed++;
                    else failed++;
                }
            }
            Console.WriteLine(passed + " passed, " + failed + " failed");
            return failed > 0 || passed == 0 ? 1 : 0;
        }

        private static bool Has<T>(MemberInfo member)
        {
            return member.GetCustomAttributes(typeof(T), false).Length > 0;
        }

        private static void Call<T>(object tests)
        {
            foreach (var method in tests.GetType().GetMethods(Members))
                if (Has<T>(method)) method.Invoke(tests, null);
        }

        /// <summary>A test that asks to be left out fails here: all of them are to run.</summary>
        private static bool Run(Type type, MethodInfo method)
        {
            var clock = Stopwatch.StartNew();
            var tests = Activator.CreateInstance(type);
            Exception error = null;
            int textures = UnityEngine.Texture2D.Alive;
            try
            {
                Call<NUnit.Framework.SetUpAttribute>(tests);
                var frames = method.Invoke(tests, null) as IEnumerator;
                if (frames != null) Play(frames);
            }
            catch (Exception thrown)
            {
                error = thrown is TargetInvocationException ? thrown.InnerException : thrown;
            }
            Call<NUnit.Framework.TearDownAttribute>(tests);
            if (error == null && UnityEngine.Texture2D.Alive != textures) error = new Exception("textures were not destroyed");
            Console.WriteLine((error == null ? "ok   " : "FAIL ") + method.Name + " " + clock.ElapsedMilliseconds + " ms");
            if (error != null) Console.WriteLine(error);
            return error == null;
        }

        /// <summary>A coroutine, and those that it yields; a frame passes wherever one yields anything else.</summary>
        private static void Play(IEnumerator frames)
        {
            while (frames.MoveNext())
            {
                var inner = frames.Current as IEnumerator;
                if (inner != null)
                {
                    Play(inner);
                    continue;
                }
                UnityEngine.GameObject.Frame();
                System.Threading.Thread.Sleep(1);
            }
        }
    }
}
