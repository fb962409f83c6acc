# Checks, installs or removes a package with winget.
& {
    $ErrorActionPreference = 'Stop'
    $package = $env:MUSTER_PACKAGE
    $version = $env:MUSTER_VERSION
    $given = @($args -ne $null)
    $code = 2

    function Test-Wanted {
        $rows = & $winget list --id $package --exact --accept-source-agreements
        # -1978335212 says that there is no such package.
        if (0, -1978335212 -notcontains $LASTEXITCODE) {
            throw "winget could not list what is installed and ended with ${LASTEXITCODE}: $rows"
        }
        if ($env:MUSTER_WANTED -eq 'absent') { return $LASTEXITCODE -ne 0 }
        if (-not $version) { return $LASTEXITCODE -eq 0 }
        foreach ($row in $rows) {
            # The id stands between a name, which may be the same, and the version.
            $words = @(-split $row)
            $at = [Array]::LastIndexOf($words, $package)
            if ($at -ge 0 -and $words[$at + 1] -eq $version) { return $true }
        }
        $false
    }

    # Windows PowerShell does not escape quotes within arguments.
    function Start-Program([string] $File, [string[]] $Words) {
        $line = foreach ($word in $Words) {
            if ($word -notmatch '[\s"]|\A\z') { $word; continue }
            '"' + ($word -replace '(\\*)"', '$1$1\"' -replace '(\\+)\z', '$1$1') + '"'
        }
        $start = New-Object Diagnostics.ProcessStartInfo $File, ($line -join ' ')
        $start.UseShellExecute = $false
        $process = [Diagnostics.Process]::Start($start)
        $process.WaitForExit()
        $process.ExitCode
    }

    try {
        if ($package -notmatch '\A[^\s"-][^\s"]*\z') { throw "'$package' is no id of a package" }
        if ($version -match '\A-|[\s"]') { throw "'$version' is no version of a package" }
        if ('present', 'absent' -notcontains $env:MUSTER_WANTED) {
            throw "MUSTER_WANTED is neither 'present' nor 'absent'"
        }
        if ('check', 'apply' -notcontains $env:MUSTER_OPERATION) {
            throw "MUSTER_OPERATION is neither 'check' nor 'apply'"
        }
        $found = Get-Command winget.exe -CommandType Application -ErrorAction SilentlyContinue
        $winget = $found | Select-Object -First 1 -ExpandProperty Path
        if (-not $winget) {
            # Nothing leads the system's own account there.
            $apps = "$env:ProgramW6432\WindowsApps"
            $installer = "$apps\Microsoft.DesktopAppInstaller_*64__8wekyb3d8bbwe"
            $winget = Get-Item "$installer\winget.exe" -ErrorAction SilentlyContinue |
                Sort-Object { [version] ($_.Directory.Name -split '_')[1] } |
                Select-Object -Last 1 -ExpandProperty FullName
        }
        if (-not $winget) { throw 'there is no winget: install the App Installer first' }

        if (Test-Wanted) { $code = 0 }
        elseif ($env:MUSTER_OPERATION -eq 'check') { $code = 1 }
        else {
            $words = '--id', $package, '--exact', '--silent', '--accept-source-agreements'
            if ($env:MUSTER_WANTED -eq 'absent') { $words = @('uninstall') + $words }
            else {
                $words = @('install') + $words + '--accept-package-agreements'
                # It leaves another version alone else.
                if ($version) { $words += '--version', $version, '--force' }
                $words += $given
            }
            $ended = Start-Program $winget $words
            # The last two say that Windows has to boot again, or does.
            if (0, -1978334967, -1978334965 -notcontains $ended) {
                $code = $ended
                throw "winget ended with ${code}: it says why above"
            }
            if ($ended -eq 0 -and -not (Test-Wanted)) {
                $code = 1
                throw "winget ended well, but $package is not as it is wanted: see what it wrote"
            }
            $code = 0
        }
    } catch { [Console]::Error.WriteLine("muster: $_") }
    exit $code
} @args
