namespace Cm3leon
{
    /// <summary>Which interface of the library this package was written for; make-package writes the header's number.</summary>
    internal static class ApiVersion
    {
        internal const uint Major = 1;
    }
}
